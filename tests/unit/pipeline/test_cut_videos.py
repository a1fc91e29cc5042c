"""Recordings that are cut off, and files whose boxes claim more than there is: what is decoded of them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support.mp4_boxes import encode
from videoqueue.errors import InvalidVideoError
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.limits import DecodeLimits

LAYOUTS = {
    "a fragment a frame": ("mp4", None, "frag_every_frame+empty_moov"),
    "with sound": ("mp4", "aac", "frag_every_frame+empty_moov+default_base_moof"),
    "the first frames in the header": ("mp4", None, "frag_every_frame"),
    "smooth streaming": ("ismv", "aac", "frag_every_frame+empty_moov"),
}


def recording(layout: str) -> bytes:
    container, audio, flags = LAYOUTS[layout]
    return encode(container=container, frames=8, audio=audio, options={"movflags": flags})


def indices(file: Path, accept_truncated: bool = True) -> list[int]:
    with open_video(file, DecodeLimits(accept_truncated=accept_truncated)) as video:
        found = [frame.index for frame in video.frames()]
        assert video.damaged_frames == 0
        return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_of_a_cut_recording_the_frames_of_the_whole_fragments_come_out(layout: str, tmp_path: Path) -> None:
    data, cut, ended = recording(layout), tmp_path / "cut.mp4", tmp_path / "ended.mp4"
    starts = [at - 4 for at in range(len(data)) if data.startswith(b"moof", at)][2:]
    for start, end in zip(starts, [*starts[1:], data.rindex(b"mfra") - 4], strict=True):
        ended.write_bytes(data[:start])  # as if the recording had ended there
        whole = indices(ended, accept_truncated=False)
        assert len(whole) >= 2
        for at in (start + 20, (start + end) // 2, end - 1):
            cut.write_bytes(data[:at])
            assert indices(cut) == whole


def test_a_cut_recording_is_refused_with_the_setting_where_it_is_not_allowed(tmp_path: Path) -> None:
    data, file = recording("a fragment a frame"), tmp_path / "cut.mp4"
    end = data.rindex(b"mfra") - 4
    for cut in (end - 1, data.rindex(b"moof") + 20):
        file.write_bytes(data[:cut])
        with pytest.raises(InvalidVideoError) as caught, open_video(file):
            pass
        assert caught.value.code == "truncated_mp4"
        assert "where accept_truncated is on" in str(caught.value)
    file.write_bytes(data[:end])
    assert indices(file, accept_truncated=False) == list(range(8))


@pytest.mark.parametrize("kind", [b"free", b"udta", b"mdat", b"uuid"])
def test_a_last_box_that_claims_too_much_costs_no_frame(kind: bytes, tmp_path: Path) -> None:
    file = tmp_path / "tail.mp4"
    file.write_bytes(encode(frames=4) + struct.pack(">I", 1 << 20) + kind + b"x" * 100)
    assert indices(file, accept_truncated=False) == list(range(4))


@pytest.mark.parametrize("audio", [None, "aac"])
def test_media_data_that_claims_too_much_costs_no_frame(audio: str | None, tmp_path: Path) -> None:
    data = bytearray(encode(frames=4, audio=audio, options={"movflags": "faststart"}))
    at, file = data.rindex(b"mdat") - 4, tmp_path / "claims.mp4"
    data[at : at + 4] = struct.pack(">I", 1 << 24)
    file.write_bytes(data)
    assert indices(file, accept_truncated=False) == list(range(4))
    file.write_bytes(data[:-1])
    with pytest.raises(InvalidVideoError) as caught, open_video(file):
        pass
    assert caught.value.code == "truncated_mp4"


def test_another_box_may_come_first(tmp_path: Path) -> None:
    file = tmp_path / "first.mp4"
    file.write_bytes(
        struct.pack(">I", 5008)
        + b"uuid"
        + bytes(5000)
        + encode(frames=4, options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    )
    assert indices(file, accept_truncated=False) == list(range(4))
