"""Options with which x265 writes the same file on every machine."""

from __future__ import annotations


def x265(frames: int, preset: str = "ultrafast", **params: object) -> dict[str, str]:
    """Options of the encoder `libx265`, quiet and with one thread.

    Without `bframes` among `params` no picture is reordered. x265 takes the delay of reordered pictures from
    one of the first pictures after it (`m_bframeDelayTime` in its encoder.cpp). In a shorter video the
    decoding times are what happened to be in its memory, and the muxer refuses most of those.

    Args:
        frames: how many pictures will be encoded.
        preset: speed against size.
        params: those of `x265-params`, with underscores for hyphens.
    """
    given = {"log-level": "none", "pools": "none", "frame-threads": "1", "bframes": "0"}
    given |= {name.replace("_", "-"): str(value) for name, value in params.items()}
    assert given["bframes"] == "0" or frames > 2, "too few pictures for B-frames"
    return {"preset": preset, "x265-params": ":".join(f"{name}={value}" for name, value in given.items())}
