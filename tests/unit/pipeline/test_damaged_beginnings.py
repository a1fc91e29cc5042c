"""What is lost in front of the first frame counts as damage, unless nothing could decode it anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import av
import pytest

from tests.support.damage import CODECS, FRAMES, MakeMoving, begin_at, fill, moving, samples_of, zero
from tests.support.small_videos import MakeVideo
from videoqueue.errors import InvalidVideoError
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.limits import DecodeLimits

# Their decoders return nothing until a key frame comes; that of MPEG-4 makes pictures of anything.
WAITING = [codec for codec in CODECS if codec != "mpeg4"]
Spoil = Callable[[Path, Iterable[int]], Path]


def read(file: Path, share: float = 0.0) -> tuple[list[int], list[int], int]:
    """Indices, times in frames, and how many are damaged."""
    with open_video(file, DecodeLimits(decoded_share=share)) as video:
        frames = [(frame.index, round(25 * frame.timestamp)) for frame in video.frames()]
        return [index for index, _ in frames], [time for _, time in frames], video.damaged_frames


def keys_of(file: Path) -> list[int]:
    with av.open(str(file)) as container:
        entries = container.streams.video[0].index_entries
        return [number for number in range(len(entries)) if entries[number].is_keyframe]


@pytest.mark.parametrize("lost", [1, 3, 20, 24])
@pytest.mark.parametrize("spoil", [zero, fill])
@pytest.mark.parametrize("codec", CODECS)
def test_overwritten_packets_at_the_beginning_are_damaged_frames(
    make_moving: MakeMoving, codec: str, spoil: Spoil, lost: int
) -> None:
    file = spoil(make_moving(codec), range(lost))

    indexes, times, damaged = read(file)

    assert indexes == list(range(len(indexes)))
    assert times == list(range(FRAMES - len(times), FRAMES))
    assert damaged == FRAMES - len(indexes) >= lost


@pytest.mark.parametrize("spoil", [zero, fill])
@pytest.mark.parametrize("codec", CODECS)
def test_a_video_is_refused_when_most_of_it_is_overwritten_from_the_beginning(
    make_moving: MakeMoving, codec: str, spoil: Spoil
) -> None:
    file = make_moving(codec)
    # In the order of decoding, in front of the fourth key frame.
    spoil(file, range(keys_of(file)[3]))

    with pytest.raises(InvalidVideoError, match=r"Only 1\d of its 40 frames") as caught:
        read(file, share=0.5)

    assert caught.value.code == "video_damaged"


@pytest.mark.parametrize("spoil", [zero, fill])
@pytest.mark.parametrize("codec", CODECS)
def test_the_first_two_key_frames_cost_their_groups_and_no_more(
    make_moving: MakeMoving, codec: str, spoil: Spoil
) -> None:
    file = make_moving(codec)
    spoil(file, keys_of(file)[:2])

    indexes, _, damaged = read(file)

    assert len(indexes) >= FRAMES - 21
    assert damaged == FRAMES - len(indexes)


@pytest.mark.parametrize("start", [3, 8])
@pytest.mark.parametrize("codec", CODECS)
def test_a_recording_that_begins_between_key_frames_is_not_damaged(
    make_moving: MakeMoving, codec: str, start: int
) -> None:
    file = begin_at(make_moving(codec), start)
    packets = len(samples_of(file))

    indexes, times, damaged = read(file)

    assert packets == FRAMES - start
    assert indexes == list(range(len(indexes)))
    assert times == [times[0] + index for index in indexes]
    assert len(indexes) >= FRAMES - 12
    assert damaged == 0


@pytest.mark.parametrize("spoil", [zero, fill])
@pytest.mark.parametrize("codec", WAITING)
def test_a_recording_that_begins_between_key_frames_is_damaged_from_its_first_key_frame_on(
    make_moving: MakeMoving, codec: str, spoil: Spoil
) -> None:
    file = begin_at(make_moving(codec), 3)
    key, following, *_ = keys_of(file)

    indexes, _, damaged = read(spoil(file, [key]))

    # With B-frames one or two of the group before are shown behind its last packet.
    assert following - key <= damaged <= following - key + 2
    assert indexes == list(range(len(indexes)))
    assert len(indexes) + damaged <= FRAMES - 3


def test_a_gradual_refresh_that_begins_at_a_sync_sample_is_not_damaged(make_video: MakeVideo) -> None:
    params = "bframes=0:keyint=10:min-keyint=10:scenecut=0:intra-refresh=1"
    whole = make_video(moving(FRAMES), encoding={"preset": "medium", "x264-params": params})
    file = begin_at(whole, keys_of(whole)[1])
    assert keys_of(file)[0] == 0

    indexes, _, damaged = read(file)

    assert indexes == list(range(len(indexes)))
    assert 20 <= len(indexes) < FRAMES - 10
    assert damaged == 0
