"""Which track of a file is its video, and what a refusal says of the tracks that are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.mp4_boxes import (
    DEFAULTS,
    FTYP,
    NONE,
    box,
    check,
    fault,
    fragment,
    full,
    movie,
    references,
    track,
)
from videoqueue.mp4 import (
    Mp4Info,
    video_track,
)


def chosen(*tracks: bytes) -> int:
    return check(movie(*tracks)).video.index


def esds(object_type: int) -> bytes:
    decoder = bytes([0x04, 13, object_type]) + bytes(12)
    return full(b"esds", rest=bytes([0x03, 3 + len(decoder)]) + bytes(3) + decoder)


def test_of_two_enabled_tracks_the_first_is_chosen() -> None:
    assert chosen(track(), track(track_id=2)) == 0


def test_a_disabled_track_gives_way_to_an_enabled_one_behind_it() -> None:
    assert chosen(track(enabled=False), track(track_id=2), track(track_id=3)) == 1


def test_of_disabled_tracks_alone_the_first_is_chosen() -> None:
    assert chosen(track(enabled=False), track(track_id=2, enabled=False)) == 0


def test_a_disabled_track_is_chosen_before_an_enabled_one_that_does_not_qualify() -> None:
    assert chosen(track(b"png "), track(samples=NONE, track_id=2), track(track_id=3, enabled=False)) == 2


@pytest.mark.parametrize("kind", [b"jpeg", b"mjpg", b"png ", b"apcn", b"mjp2", b"\0\xff\0\xff"])
def test_a_track_of_a_codec_that_is_not_read_gives_way(kind: bytes) -> None:
    assert chosen(track(kind), track(track_id=2)) == 1


@pytest.mark.parametrize("object_type", [0x6C, 0x6D, 0x6A])
def test_a_codec_that_only_the_object_type_tells_is_not_read_either(object_type: int) -> None:
    assert chosen(track(b"mp4v", inside=esds(object_type)), track(track_id=2)) == 1


def test_an_encrypted_track_gives_way() -> None:
    assert chosen(track(b"encv"), track(track_id=2)) == 1


def test_a_track_without_samples_gives_way() -> None:
    assert chosen(track(samples=NONE), track(track_id=2)) == 1


@pytest.mark.parametrize("handler", [b"pict", b"auxv", b"soun", b"text"])
def test_a_track_that_is_no_video_gives_way_whatever_its_codec(handler: bytes) -> None:
    assert chosen(track(handler=handler), track(track_id=2)) == 1


@pytest.mark.parametrize("kind", [b"thmb", b"auxl", b"vdep"])
def test_a_track_that_says_it_belongs_to_another_gives_way(kind: bytes) -> None:
    assert chosen(track(more=references(kind, 2)), track(track_id=2)) == 1


def test_pictures_of_chapters_give_way_wherever_they_are_referred_to() -> None:
    sound = track(b"mp4a", track_id=3, handler=b"soun", more=references(b"chap", 7, 1))
    assert chosen(track(), track(track_id=2), sound) == 1


def test_another_reference_changes_nothing() -> None:
    assert chosen(track(more=references(b"cdsc", 2)), track(track_id=2)) == 0


def fragmented(*tracks: bytes, runs: tuple[int, ...]) -> Mp4Info:
    """Fragments with one sample each of the tracks in `runs`."""
    extends = b"".join(full(b"trex", track_id, 1, 0, 0, 0) for track_id in (1, 2, 3))
    head = FTYP + box(b"moov", *tracks, box(b"mvex", extends))
    return check(head + b"".join(fragment(0, 1, track_id=track_id) for track_id in runs) + bytes(99))


def test_samples_in_fragments_are_counted_for_each_track() -> None:
    empty = track(samples=NONE), track(samples=NONE, track_id=2), track(samples=NONE, track_id=3)
    info = fragmented(*empty, runs=(2, 3, 2, 2, 3))
    assert (info.video.index, info.video.track_id, info.video.samples) == (1, 2, 3)
    info = fragmented(*empty, runs=(3, 1, 3))
    assert (info.video.index, info.video.samples) == (0, 1)


def test_samples_in_fragments_add_to_those_of_the_table() -> None:
    assert fragmented(track(), track(track_id=2), runs=(1, 2, 1)).video.samples == 4


def test_a_fragment_that_names_no_track_of_the_file_is_counted_for_none() -> None:
    assert fragmented(track(), runs=(9, 9)).video.samples == 2


def test_of_tracks_with_the_same_id_the_first_has_the_samples_of_fragments() -> None:
    info = fragmented(track(samples=NONE), track(samples=NONE), runs=(1,))
    assert (info.video.index, info.video.same_id) == (0, 1)
    assert check(movie(track(samples=NONE), track())).video.same_id == 0


def test_a_file_on_disk_is_judged_like_the_bytes_of_an_upload(tmp_path: Path) -> None:
    file = tmp_path / "made.mp4"
    data = FTYP + box(b"mdat", bytes(300_000)) + box(b"moov", track(b"png "), track(track_id=2))
    file.write_bytes(data + box(b"free", bytes(200_000)) + b"\0\0")
    assert video_track(file, DEFAULTS) == check(file.read_bytes()).video


@pytest.mark.parametrize(
    ("tracks", "code", "message", "found"),
    [
        (
            (track(b"mjpg"), track(samples=NONE), track(b"mp4a", handler=b"soun")),
            "unsupported_video",
            "The video codec mjpg is not read",
            "track 1: mjpg, not read; track 2: h264, no samples; track 3: audio",
        ),
        (
            (track(samples=NONE, enabled=False), track(b"tmcd", handler=b"tmcd")),
            "no_video_track",
            "The file's video track holds no frames.",
            "track 1: h264, no samples; track 2: tmcd",
        ),
        (
            (track(b"encv"), track(b"apcn")),
            "unsupported_video",
            "The video is encrypted (DRM).",
            "track 1: encv, encrypted; track 2: apcn, not read",
        ),
        (
            (track(more=references(b"thmb", 2)),),
            "no_video_track",
            "The file has no video track.",
            "track 1: h264, pictures for another track",
        ),
        (
            (track(b"mp4v", inside=esds(0x6C)),),
            "unsupported_video",
            "The video codec mjpeg is not read",
            "track 1: mjpeg, not read",
        ),
        (
            (track(b"mp4a", track_id=2, handler=b"soun", more=references(b"chap", 1)), track(b"jpeg")),
            "unsupported_video",
            "The video codec jpeg is not read",
            "track 1: audio; track 2: jpeg, not read, pictures for another track",
        ),
        ((), "no_video_track", "The file has no video track.", "no track"),
    ],
)
def test_a_refusal_names_what_was_found_in_each_track(
    tracks: Any, code: str, message: str, found: str
) -> None:
    refused, said = fault(movie(*tracks))
    assert refused == code
    assert said.startswith(message)
    assert said.endswith(f" Found: {found}.")


def test_a_refusal_of_many_tracks_with_hostile_names_stays_short_and_printable() -> None:
    hostile = [
        track(kind, handler=handler)
        for kind in (b"\x1b[2J", b"a\nb\r")
        for handler in (b"vide", b"\0\x7f\xff\n")
    ]
    said = fault(movie(*hostile * 16))[1]
    assert said.isprintable()
    assert said.endswith("; 56 more.")
    assert len(said) < 500
    assert "track 1: 0x1b5b324a, not read; track 2: 0x007fff0a;" in said
