"""The limits of the check, and tables that do not fit their boxes or the file."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest

from tests.support.mp4_boxes import (
    BOUNDED,
    DEFAULTS,
    FTYP,
    GOOD,
    MAX_SAMPLES,
    MAX_TRACKS,
    NONE,
    SAMPLES,
    box,
    check,
    entry,
    fault,
    fragment,
    full,
    movie,
    sample,
    stsd,
    tables,
    tkhd,
    track,
    trak,
)
from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import (
    CheckLimits,
    LimitExceededError,
    Mp4Check,
)


@pytest.mark.parametrize(
    "track",
    [
        trak(stsd(entry(width=16000, height=16000)) + tables()),
        trak(stsd(entry()) + tables(), head=tkhd(16000, 16000)),
    ],
)
def test_a_picture_above_the_limit_is_refused_with_the_limit(track: Any) -> None:
    code, message = fault(movie(track), limits=BOUNDED)
    assert code == "unsupported_video"
    assert message.startswith(
        "The picture has 256,000,000 pixels; at most 35,389,440 are accepted (VIDEOQUEUE_MAX_PIXELS)."
    )
    assert check(movie(track), limits=CheckLimits(pixels=16000 * 16000)).video.samples == 2


def test_a_picture_of_exactly_the_limit_passes() -> None:
    assert check(sample("moov-last"), limits=CheckLimits(pixels=64 * 48)).video.width == 64
    assert fault(sample("moov-last"), limits=CheckLimits(pixels=64 * 48 - 1))[0] == "unsupported_video"


def test_samples_of_one_byte_that_the_file_cannot_hold_are_refused() -> None:
    stbl = stsd(entry()) + full(b"stts", 1, 9_000_000, 1) + full(b"stsz", 1, 9_000_000) + full(b"stco", 0)
    assert fault(movie(trak(stbl), data=38_000))[0] == "truncated_mp4"


@pytest.mark.parametrize(
    "table",
    [
        full(b"stsz", 1, MAX_SAMPLES + 1),
        full(b"stts", 1, MAX_SAMPLES + 1, 1),
        full(b"ctts", 1, MAX_SAMPLES + 1, 1),
        full(b"stz2", 8, 0),
    ],
)
def test_more_samples_than_the_limit_are_refused_before_the_end(table: Any) -> None:
    walk = Mp4Check(BOUNDED)
    if b"stz2" in table:
        table = full(b"stz2", 4, MAX_SAMPLES + 1, rest=bytes(MAX_SAMPLES // 2 + 1))
    with pytest.raises(InvalidVideoError) as caught:
        walk.feed(FTYP + box(b"moov", trak(stsd(entry()) + table)))
    assert str(caught.value) == (
        "The file declares 10,000,001 samples in a track; at most 10,000,000 are accepted "
        "(VIDEOQUEUE_MAX_SAMPLES). Upload a part."
    )


def test_sound_does_not_hide_a_bomb() -> None:
    """Only one duration of one tick makes FFmpeg count by the chunk."""
    two = full(b"stts", 2, 30_000_000, 1, 30_000_000, 1) + full(b"stsz", 1, 60_000_000)
    assert fault(movie(GOOD, trak(two, b"soun")))[0] == "unsupported_video"
    many = full(b"stts", 1, 2**31, 1) + full(b"stsz", 1, 2**31)
    chunks = full(b"stsc", 1, 1, 2**30, 1) + full(b"stco", 3, 0, 0, 0)
    assert fault(movie(GOOD, trak(many + chunks, b"soun")))[0] == "unsupported_video"
    runs = full(b"stsc", 2, 1, 2**30, 1, 3, 2**30, 1) + full(b"stco", 3, 0, 0, 0)
    assert fault(movie(GOOD, trak(many + runs, b"soun")))[0] == "unsupported_video"


@pytest.mark.parametrize("kind", [b"stts", b"ctts", b"stss", b"stsc", b"stco", b"co64", b"elst"])
def test_a_table_longer_than_its_box_is_damaged(kind: bytes) -> None:
    code, message = fault(movie(trak(stsd(entry()) + full(kind, 1000, 1, 1))))
    assert (code, message) == (
        "not_mp4",
        "The file is damaged: a table is longer than its box. Write it anew as MP4.",
    )


@pytest.mark.parametrize(("bits", "code"), [(4, "not_mp4"), (8, "not_mp4"), (16, "not_mp4"), (5, "not_mp4")])
def test_a_compact_size_table_longer_than_its_box_is_damaged(bits: int, code: str) -> None:
    assert fault(movie(trak(stsd(entry()) + full(b"stz2", bits, 1000, rest=bytes(10)))))[0] == code


def test_a_compact_size_table_of_a_width_that_does_not_exist_is_damaged() -> None:
    assert fault(movie(trak(stsd(entry()) + full(b"stz2", 5, 1, rest=bytes(10)))))[0] == "not_mp4"


def test_a_compact_size_table_is_counted() -> None:
    stbl = stsd(entry()) + full(b"stz2", 4, 3, rest=b"\x12\x30") + full(b"stco", 1, 0)
    assert check(movie(trak(stbl))).video.samples == 3


def test_too_many_edits_are_refused() -> None:
    edits = full(b"elst", 3, *[1, 0, 1 << 16] * 3)
    file = movie(trak(stsd(entry()) + tables(), more=box(b"edts", edits)))
    assert check(file, limits=CheckLimits(edits=3)).video.samples == 2
    assert fault(file, limits=replace(DEFAULTS, edits=2)) == (
        "unsupported_video",
        "The file has 3 edits in a track; at most 2 are accepted (VIDEOQUEUE_MAX_EDITS). "
        "Encode the edited video anew.",
    )


def test_too_many_tracks_are_refused() -> None:
    assert check(movie(*[GOOD] * MAX_TRACKS)).tracks == MAX_TRACKS
    assert fault(movie(*[GOOD] * (MAX_TRACKS + 1)))[0] == "unsupported_video"


def test_deep_nesting_is_refused() -> None:
    nested = b""
    for _ in range(50):
        nested = box(b"trak", nested)
    assert fault(FTYP + box(b"moov", nested))[0] == "not_mp4"


def test_the_limit_of_tracks_names_its_setting() -> None:
    assert check(movie(GOOD, GOOD), limits=CheckLimits(tracks=2)).tracks == 2
    assert fault(movie(GOOD, GOOD), limits=replace(DEFAULTS, tracks=1)) == (
        "unsupported_video",
        "The file has more than 1 tracks, the most that are accepted (VIDEOQUEUE_MAX_STREAMS). "
        "Export the video alone.",
    )


def video_of(width: int, track_id: int = 1, enabled: bool = True, samples: bytes = SAMPLES) -> bytes:
    head = tkhd(width, 48, track_id=track_id, enabled=enabled)
    return trak(stsd(entry(width=width, height=48)) + samples, head=head)


MOST = replace(DEFAULTS, pixels=64 * 48)


SMALL, LARGE = video_of(64), video_of(65, 2)


@pytest.mark.parametrize(
    "tracks",
    [
        (SMALL, LARGE),
        (video_of(65, 2, enabled=False), SMALL),
        (video_of(65, 2, samples=NONE), SMALL),
    ],
)
def test_a_track_above_the_limit_of_pixels_does_no_harm_when_another_is_chosen(tracks: Any) -> None:
    assert check(movie(*tracks), limits=MOST).video.width == 64


@pytest.mark.parametrize("tracks", [(LARGE, SMALL), (video_of(64, enabled=False), LARGE)])
def test_a_chosen_track_above_the_limit_of_pixels_is_refused(tracks: Any) -> None:
    code, message = fault(movie(*tracks), limits=MOST)
    assert (code, message.startswith("The picture has 3,120 pixels; at most 3,072")) == (
        "unsupported_video",
        True,
    )


def test_a_picture_above_the_limit_is_refused_as_soon_as_its_track_is_sure_to_be_chosen() -> None:
    walk = Mp4Check(MOST)
    with pytest.raises(InvalidVideoError, match="VIDEOQUEUE_MAX_PIXELS"):
        walk.feed(FTYP + box(b"moov", LARGE, SMALL) + struct.pack(">I4s", 1 << 30, b"mdat"))


def test_fragments_decide_which_track_is_judged_by_its_pixels() -> None:
    header = FTYP + box(b"moov", video_of(65, 2, samples=NONE), video_of(64, samples=NONE))
    assert check(header + fragment(0, 1), limits=MOST).video.width == 64
    assert fault(header + fragment(0, 1, track_id=2), limits=MOST)[1].startswith("The picture has 3,120")


def test_sizes_of_samples_that_a_movie_header_presets_count_for_as_many_tracks_as_are_accepted() -> None:
    presets = [full(b"trex", number, 1, 0, 0, 0) for number in range(100, 170)]
    header = box(b"moov", track(samples=NONE), box(b"mvex", *presets, full(b"trex", 1, 1, 0, 10_000, 0)))
    run = box(b"moof", box(b"traf", full(b"tfhd", 1), box(b"trun", struct.pack(">II", 0, 1))))
    file = FTYP + header + run
    assert fault(file, limits=CheckLimits(tracks=100))[0] == "truncated_mp4"
    assert fault(file + bytes(9000), limits=CheckLimits(tracks=100))[0] == "truncated_mp4"
    assert check(file + box(b"mdat", bytes(10_000)), limits=CheckLimits(tracks=100)).video.samples == 1


def test_the_limit_of_uncompressed_audio_names_its_setting() -> None:
    sound = full(b"stts", 1, 5, 1) + full(b"stsz", 1, 5) + full(b"stsc", 1, 1, 5, 1) + full(b"stco", 1, 0)
    file = movie(GOOD, trak(sound, b"soun"))
    assert check(file, limits=CheckLimits(audio_values=5)).tracks == 2
    assert fault(file, limits=replace(DEFAULTS, audio_values=4)) == (
        "unsupported_video",
        "The file declares 5 values of uncompressed audio; at most 4 are accepted "
        "(VIDEOQUEUE_MAX_AUDIO_VALUES). Remove the audio, for example with "
        "`ffmpeg -i in.mp4 -an -c copy out.mp4`.",
    )


@pytest.mark.parametrize("limits", [CheckLimits(samples=1), CheckLimits(tracks=1), CheckLimits(steps=100)])
def test_a_limit_is_told_from_a_fault_of_the_file(limits: Any) -> None:
    with pytest.raises(LimitExceededError):
        check(movie(GOOD, GOOD), limits=limits)
