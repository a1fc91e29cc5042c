"""Edit lists: which frames are shown, and when, as players do it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.edited_videos import boxes, edit_list, media_clock, with_edits
from tests.support.hevc import x265
from tests.support.mp4_boxes import check
from tests.support.small_videos import MakeVideo, flat, seconds
from videoqueue.errors import InvalidVideoError, NoFrameError
from videoqueue.mp4 import EditList, NoReadableTrackError, TableAt
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.edits import Edits
from videoqueue.pipeline.decode.file_view import file_view

FRAMES = 12
PICTURES = [flat(64, 48, 20 * number) for number in range(FRAMES)]
B_FRAMES = {"preset": "medium", "x264-params": "bframes=2:keyint=10:b-adapt=0:scenecut=0"}
EMPTY = None
FrameEdit: TypeAlias = tuple[int, int | None]

# Of each edit how many frames it lasts, and with which frame it begins; then what is shown: pairs of a frame
# and the place where it is shown, counted in frames; then the place where the video ends.
LISTS: dict[str, tuple[list[FrameEdit], list[tuple[int, int]], int]] = {
    "open": ([(0, 0)], [*zip(range(12), range(12), strict=True)], 12),
    "open, behind what it cuts off": ([(0, 5)], [*zip(range(5, 12), range(7), strict=True)], 7),
    "open, behind another": (
        [(3, 0), (0, 5)],
        [(0, 0), (1, 1), (2, 2), *zip(range(5, 12), range(3, 10), strict=True)],
        10,
    ),
    "open, behind an empty one": ([(5, EMPTY), (0, 2)], [*zip(range(2, 12), range(5, 15), strict=True)], 15),
    "open, before another": ([(0, 9), (2, 0)], [(9, 0), (10, 1), (11, 2), (0, 3), (1, 4)], 5),
    "open, between others": (
        [(5, EMPTY), (2, 1), (0, 10), (3, 4)],
        [(1, 5), (2, 6), (10, 7), (11, 8), (4, 9), (5, 10), (6, 11)],
        12,
    ),
    "two open ones": ([(0, 10), (0, 9)], [(10, 0), (11, 1), (9, 2), (10, 3), (11, 4)], 5),
    "open, behind an empty one that lasts no time": ([(0, EMPTY), (0, 10)], [(10, 0), (11, 1)], 2),
    "open, before an empty one that lasts no time": ([(0, 10), (0, EMPTY)], [(10, 0), (11, 1)], 2),
    "open, before a pause": ([(0, 10), (3, EMPTY), (1, 0)], [(10, 0), (11, 1), (0, 5)], 6),
    "a pause": ([(2, 0), (4, EMPTY), (2, 6)], [(0, 0), (1, 1), (6, 6), (7, 7)], 8),
    "a pause at the end": ([(2, 3), (4, EMPTY)], [(3, 0), (4, 1)], 2),
    "ordinary": ([(3, 2)], [(2, 0), (3, 1), (4, 2)], 3),
    "longer than the media": ([(40, 10)], [(10, 0), (11, 1)], 2),
    "a part shown twice": ([(2, 0), (2, 0)], [(0, 0), (1, 1), (0, 2), (1, 3)], 4),
    "one that lies behind the media, last": ([(2, 4), (5, 50)], [(4, 0), (5, 1)], 2),
}


def edited(file: Path, edits: Sequence[FrameEdit], version: int = 0, timescale: int = 1000) -> Path:
    """A file whose edits are counted in frames."""
    step, first = media_clock(file)
    ticks = [
        (duration * timescale // 25, -1 if start is EMPTY else first + start * step)
        for duration, start in edits
    ]
    return with_edits(file, ticks, version, timescale)


def shown(file: Path) -> list[tuple[int, int, float]]:
    """Of each frame its index, which of PICTURES it is, and its time."""
    with open_video(file) as video:
        found = [
            (frame.index, round(float(frame.image().mean()) / 20), frame.timestamp)
            for frame in video.frames()
        ]
        assert video.damaged_frames == 0
    return found


@pytest.mark.parametrize("timescale", [600, 1000, 90_000])
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("name", LISTS)
def test_an_edit_list_is_followed_that_is(
    make_video: MakeVideo, name: str, version: int, timescale: int
) -> None:
    edits, expected, end = LISTS[name]
    file = edited(make_video(PICTURES), edits, version, timescale)

    assert shown(file) == [
        (index, picture, round(place / 25, 6)) for index, (picture, place) in enumerate(expected)
    ]
    with open_video(file) as video:
        assert video.duration == end / 25


def times_of(file: Path) -> list[float]:
    with av.open(str(file)) as container:
        return [seconds(frame) for frame in container.decode(video=0)]


OPEN_LISTS: dict[str, tuple[list[FrameEdit], list[FrameEdit]]] = {
    "alone": ([(0, 0)], [(12, 0)]),
    "last": ([(4, 0), (0, 4)], [(4, 0), (8, 4)]),
    "first": ([(0, 5), (4, 0)], [(7, 5), (4, 0)]),
    "between": ([(3, EMPTY), (4, 2), (0, 7), (4, 0)], [(3, EMPTY), (4, 2), (5, 7), (4, 0)]),
}


@pytest.mark.parametrize("name", OPEN_LISTS)
@pytest.mark.parametrize(("codec", "encoding"), [("libx264", B_FRAMES), ("libx265", x265(FRAMES, bframes=2))])
def test_an_open_edit_shows_what_one_of_the_rest_would(
    make_video: MakeVideo, codec: str, encoding: dict[str, str], name: str
) -> None:
    given_edits, same = OPEN_LISTS[name]
    options = {"codec": codec, "encoding": encoding}
    reference = edited(make_video(PICTURES, name="reference.mp4", **options), same)

    found = shown(edited(make_video(PICTURES, **options), given_edits))

    assert [time for _, _, time in found] == times_of(reference) != []
    assert [index for index, _, _ in found] == list(range(len(found)))


def test_an_open_edit_ends_with_media_whose_header_does_not_tell_its_duration(
    make_video: MakeVideo,
) -> None:
    file = edited(make_video(PICTURES), [(0, 9), (2, 3)])
    content = bytearray(file.read_bytes())
    struct.pack_into(">I", content, content.index(b"mdhd") + 20, 0xFFFFFFFF)
    file.write_bytes(content)

    assert [picture for _, picture, _ in shown(file)] == [9, 10, 11, 3, 4]


def test_an_open_edit_longer_than_its_fields_can_say_is_refused(make_video: MakeVideo) -> None:
    file = make_video(PICTURES[:3], times=[0, 1000, 500_000])
    _, first = media_clock(file)
    with_edits(file, [(0, first)], timescale=10_000_000)

    with pytest.raises(InvalidVideoError, match="edit list of the video track cannot be followed"):
        shown(file)
    with_edits(file, [(0, first)], version=1, timescale=10_000_000)
    assert [time for _, _, time in shown(file)] == [0, 1, 500]


@pytest.mark.parametrize("movflags", ["frag_keyframe", "frag_every_frame+empty_moov+delay_moov"])
def test_the_edit_of_a_fragmented_file_is_left_to_ffmpeg(make_video: MakeVideo, movflags: str) -> None:
    file = make_video(PICTURES, encoding=B_FRAMES, options={"movflags": movflags})
    times = times_of(file)
    assert len(times) == FRAMES

    assert [(index, time) for index, _, time in shown(file)] == list(enumerate(times))


@pytest.mark.parametrize(
    ("edits", "pictures"), [([(3, 5)], [5, 6, 7]), ([(1, 5), (0, 10)], [5, 10, 11]), ([(0, 10)], [10, 11])]
)
@pytest.mark.parametrize("same_id", [False, True])
def test_an_edit_list_is_followed_behind_a_track_without_samples(
    tmp_path: Path, edits: list[tuple[int, int]], pictures: list[int], same_id: bool
) -> None:
    file = tmp_path / "a.mp4"
    with av.open(str(file), "w", format="mp4") as output:
        options = {"preset": "ultrafast", "crf": "10"}
        streams = [
            output.add_stream("libx264", rate=25, width=64, height=48, options=options) for _ in range(2)
        ]
        for stream in streams:
            for picture in PICTURES:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            output.mux(stream.encode())
    step, first = media_clock(file)
    with_edits(file, [(duration * 40, first + start * step) for duration, start in edits], track=1)
    content = bytearray(file.read_bytes())
    for kind, count in ((b"stts", 8), (b"stss", 8), (b"stsc", 8), (b"stsz", 12), (b"stco", 8)):
        struct.pack_into(">I", content, content.index(kind) + count, 0)
    if same_id:
        struct.pack_into(">I", content, content.rindex(b"tkhd") + 16, 1)
    file.write_bytes(content)

    assert shown(file) == [(index, picture, index / 25) for index, picture in enumerate(pictures)]


# What shows nothing


HIDDEN = "edit list of the video track shows none of its frames"


@pytest.mark.parametrize("edits", [[(500, -1)], [(0, -1)], [(500, -1), (20, -1)]])
@pytest.mark.parametrize("version", [0, 1])
def test_a_track_of_empty_edits_is_refused_as_hidden_at_submission_and_by_the_decoder(
    make_video: MakeVideo, edits: list[tuple[int, int]], version: int
) -> None:
    file = with_edits(make_video(PICTURES), edits, version)

    with pytest.raises(NoReadableTrackError, match=HIDDEN) as refused:
        check(file.read_bytes())
    assert "track 1: h264, hidden by its edit list" in str(refused.value)
    with pytest.raises(NoReadableTrackError, match=HIDDEN):
        shown(file)


@pytest.mark.parametrize("edits", [[(400, 1 << 30)], [(0, 1 << 30)], [(100, -1), (400, 1 << 30)]])
def test_edits_behind_the_media_are_refused_as_hiding_it(
    make_video: MakeVideo, edits: list[tuple[int, int]]
) -> None:
    file = with_edits(make_video(PICTURES), edits)

    with pytest.raises(NoFrameError, match=HIDDEN):
        shown(file)


def test_of_several_edit_lists_the_last_counts(make_video: MakeVideo) -> None:
    file = with_edits(make_video(PICTURES), [(500, -1)])
    content = file.read_bytes()
    at = content.index(b"edts") - 4
    _, _, end = next(boxes(content, at, len(content)))
    step, first = media_clock(file)
    both = content[:end] + edit_list([(0, first + 10 * step)]) + content[end:]
    for kind in (b"moov", b"trak"):
        start = both.index(kind) - 4
        (size,) = struct.unpack_from(">I", both, start)
        size += len(both) - len(content)
        both = both[:start] + struct.pack(">I", size) + both[start + 4 :]
    file.write_bytes(both)

    assert [picture for _, picture, _ in shown(file)] == [10, 11]


# Numbers of any size


NUMBERS = st.one_of(
    st.integers(0, 5), st.sampled_from([2**31 - 1, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1)
)


@given(
    entries=st.lists(st.tuples(NUMBERS, st.one_of(st.just(2**32 - 1), NUMBERS)), max_size=6),
    version=st.integers(0, 1),
    clocks=st.tuples(NUMBERS, NUMBERS),
    media=st.tuples(st.none() | NUMBERS, st.integers(-(2**31), 2**31 - 1)),
)
def test_an_edit_list_of_any_numbers_is_rewritten_in_its_place_or_refused(
    entries: list[tuple[int, int]], version: int, clocks: tuple[int, int], media: tuple[int | None, int]
) -> None:
    form = ">QQI" if version else ">III"
    table = b"".join(struct.pack(form, *entry, 1 << 16) for entry in entries)
    edits = Edits(
        EditList(
            table=TableAt(100, len(entries)),
            version=version,
            times=None,
            movie_timescale=max(1, clocks[0]),
            timescale=max(1, clocks[1]),
            media_duration=0,
            first_time=media[1],
        ),
        table,
        media[0],
    )

    assert edits.seconds is None or edits.seconds > 0
    try:
        rewritten = edits.rewritten()
    except InvalidVideoError:
        return
    assert rewritten is None or len(rewritten) == len(table)


@given(
    content=st.binary(min_size=1, max_size=60),
    places=st.dictionaries(st.integers(0, 70), st.binary(min_size=1, max_size=20), min_size=1, max_size=3),
    size=st.integers(0, 60),
    reads=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_a_view_of_a_file_is_the_same_however_it_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    places: dict[int, bytes],
    size: int,
    reads: list[int],
) -> None:
    file = tmp_path_factory.getbasetemp() / "content"
    file.write_bytes(content)
    expected = bytearray(content[:size])
    for position, patch in sorted(places.items()):
        for offset, value in enumerate(patch):
            if position + offset < len(expected):
                expected[position + offset] = value

    with file_view(file, min(size, len(content)), places) as view:
        assert not isinstance(view, str)
        found, turn = b"", 0
        while piece := view.read(reads[turn % len(reads)]):
            found, turn = found + piece, turn + 1
        assert view.seek(0, 2) == min(size, len(content))
    assert found == expected
