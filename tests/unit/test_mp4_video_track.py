"""Which track of a file is its video, and what a refusal says of the tracks that are not."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.mp4_boxes import (
    DEFAULTS,
    FTYP,
    GOOD,
    box,
    check,
    entry,
    fault,
    fragment,
    full,
    movie,
    references,
    stsd,
    tables,
    tkhd,
    trak,
)
from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import (
    CheckLimits,
    ColourTags,
    EditList,
    LimitExceededError,
    Mp4Check,
    Mp4Info,
    TableAt,
    square_size,
    video_track,
)

SAMPLES = tables()
NONE = tables(())


def track(
    kind: bytes = b"avc1",
    samples: bytes = SAMPLES,
    track_id: int = 1,
    enabled: bool = True,
    handler: bytes = b"vide",
    more: bytes = b"",
    inside: bytes = b"",
) -> bytes:
    head = tkhd(track_id=track_id, enabled=enabled)
    return trak(stsd(entry(kind, inside=inside)) + samples, handler, head, more)


def chosen(*tracks: bytes) -> int:
    return check(movie(*tracks)).video.index


def esds(object_type: int) -> bytes:
    decoder = bytes([0x04, 13, object_type]) + bytes(12)
    return full(b"esds", rest=bytes([0x03, 3 + len(decoder)]) + bytes(3) + decoder)


# The rule


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


# What is told of the chosen track


def test_the_shape_of_pixels_is_that_of_the_first_sample_entry() -> None:
    wide, tall = (box(b"pasp", struct.pack(">II", *ratio)) for ratio in ((32, 11), (1, 2)))
    entries = stsd(entry(inside=box(b"colr", bytes(11)) + wide), entry(inside=tall))
    assert check(movie(trak(entries + SAMPLES))).video.pixel_aspect == (32, 11)
    assert check(movie(GOOD)).video.pixel_aspect is None
    assert check(movie(track(inside=box(b"pasp", bytes(4))))).video.pixel_aspect is None


def colours(*boxes: bytes) -> ColourTags | None:
    return check(movie(track(inside=b"".join(boxes)))).video.colours


PQ_TAGS = struct.pack(">3H", 9, 16, 9)


def test_the_colours_are_those_of_the_first_box_that_has_codes() -> None:
    profile = box(b"colr", b"prof", bytes(40))
    sdr = box(b"colr", b"nclx", struct.pack(">3H", 1, 1, 1), b"\0")
    assert colours() is None
    assert colours(box(b"colr", b"nclx", PQ_TAGS, b"\x80")) == ColourTags(9, 16, 9, full_range=True)
    assert colours(profile, box(b"colr", b"nclx", PQ_TAGS, b"\0"), sdr) == ColourTags(9, 16, 9, False)
    assert colours(box(b"colr", b"nclc", PQ_TAGS)) == ColourTags(9, 16, 9, None)
    assert colours(box(b"colr", b"nclx", PQ_TAGS)) == ColourTags(9, 16, 9, None)


def test_colours_of_a_second_sample_entry_are_not_read() -> None:
    second = entry(inside=box(b"colr", b"nclc", PQ_TAGS))
    assert check(movie(trak(stsd(entry(), second) + SAMPLES))).video.colours is None


@pytest.mark.parametrize("kind", [b"prof", b"rICC", b"nclx", b"nclc", b"????"])
@pytest.mark.parametrize("size", [0, 3, 4, 9])
def test_a_colour_box_that_is_short_or_a_profile_says_nothing(kind: bytes, size: int) -> None:
    assert colours(box(b"colr", (kind + PQ_TAGS)[:size])) is None
    assert colours(box(b"colr", b"prof", PQ_TAGS, bytes(900)), box(b"colr", b"rICC", PQ_TAGS)) is None


@pytest.mark.parametrize("code", [0, 256, 0xFFFF])
def test_a_colour_code_that_no_picture_can_have_is_not_said(code: int) -> None:
    tags = struct.pack(">3H", code, 16, code)
    assert colours(box(b"colr", b"nclc", tags)) == ColourTags(2, 16, 2)


def test_the_matrix_of_the_track_header_is_told() -> None:
    turned = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    head = bytearray(tkhd())
    head[-44:-8] = struct.pack(">9i", *turned)
    assert check(movie(trak(stsd(entry()) + SAMPLES, head=bytes(head)))).video.matrix == turned


def elst(edits: list[tuple[int, int]], version: int = 0) -> bytes:
    form = ">Qqi" if version else ">Iii"
    entries = b"".join(struct.pack(form, *edit, 1 << 16) for edit in edits)
    return box(b"edts", box(b"elst", bytes([version, 0, 0, 0]), struct.pack(">I", len(edits)), entries))


def clock(kind: bytes, timescale: int, duration: int, version: int = 0) -> bytes:
    """An `mvhd` or `mdhd`."""
    form = ">B3xQQIQ" if version else ">B3xIIII"
    return box(kind, struct.pack(form, version, 1, 1, timescale, duration), bytes(4))


@pytest.mark.parametrize("edits", [[(0, 1280)], [(500, -1), (0, 40)], [(100, 0), (100, 500)]])
@pytest.mark.parametrize("version", [0, 1])
def test_an_edit_list_is_told_with_where_its_tables_lie_and_what_its_ticks_are(
    edits: Any, version: int
) -> None:
    shifts = full(b"ctts", 2, 1, 2000, 1, 0)
    data = (
        FTYP
        + box(b"mdat", bytes(100))
        + box(
            b"moov",
            clock(b"mvhd", 600, 1, version),
            track(samples=SAMPLES + shifts, more=elst(edits, version) + clock(b"mdhd", 12800, 2048, version)),
        )
    )
    found = check(data).video.edits
    assert found == EditList(
        table=TableAt(data.index(b"elst") + 12, len(edits)),
        version=version,
        times=TableAt(data.index(b"stts") + 12, 1),
        movie_timescale=600,
        timescale=12800,
        media_duration=2048,
        first_time=2000,
    )


@pytest.mark.parametrize("version", [0, 1])
def test_an_unknown_duration_of_the_media_is_0(version: int) -> None:
    unknown = clock(b"mdhd", 600, (1 << 64 if version else 1 << 32) - 1, version)
    data = (
        FTYP
        + box(b"mdat", bytes(100))
        + box(b"moov", clock(b"mvhd", 600, 1), track(more=elst([(0, 0)]) + unknown))
    )
    edits = check(data).video.edits
    assert edits is not None
    assert edits.media_duration == 0


@pytest.mark.parametrize(("short", "expected"), [(b"mvhd", None), (b"mdhd", (9, 0))])
def test_a_clock_too_short_for_what_it_says_is_passed_over(
    short: bytes, expected: tuple[int, int] | None
) -> None:
    clocks = {
        kind: box(kind, bytes(10)) if kind == short else clock(kind, 9, 9) for kind in (b"mvhd", b"mdhd")
    }
    moov = box(b"moov", clocks[b"mvhd"], track(more=elst([(0, 0)]) + clocks[b"mdhd"]))
    found = check(FTYP + box(b"mdat", bytes(100)) + moov).video.edits
    assert (found and (found.timescale, found.media_duration)) == expected


def test_a_track_that_its_edit_list_hides_is_passed_over() -> None:
    hidden = track(more=elst([(500, -1)]))
    assert check(movie(hidden, track(track_id=2))).video.track_id == 2
    assert check(movie(hidden, track(track_id=2, enabled=False))).video.track_id == 2
    assert "hidden by its edit list" in fault(movie(hidden))[1]


@pytest.mark.parametrize("edits", [[], [(500, -1), (0, 0)], [(500, -1), (0, -2)]])
def test_a_track_of_which_any_edit_shows_something_is_not_hidden(edits: Any) -> None:
    assert check(movie(track(more=elst(edits)), track(track_id=2))).video.track_id == 1


def test_a_stream_in_fragments_is_not_hidden_by_an_empty_edit() -> None:
    extends = box(b"mvex", full(b"trex", 1, 1, 0, 7, 0))
    moov = box(b"moov", track(samples=NONE, more=elst([(500, -1)])), extends)
    assert check(FTYP + moov + fragment(0, 3)).video.samples == 3


def test_a_file_on_disk_is_judged_like_the_bytes_of_an_upload(tmp_path: Path) -> None:
    file = tmp_path / "made.mp4"
    data = FTYP + box(b"mdat", bytes(300_000)) + box(b"moov", track(b"png "), track(track_id=2))
    file.write_bytes(data + box(b"free", bytes(200_000)) + b"\0\0")
    assert video_track(file, DEFAULTS) == check(file.read_bytes()).video


# What is refused


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


# Square pixels


@pytest.mark.parametrize(
    ("size", "ratio", "square"),
    [
        ((352, 576), (32, 11), (1024, 576)),
        ((720, 576), (64, 45), (1024, 576)),
        ((720, 480), (8, 9), (720, 540)),
        ((100, 100), (1, 3), (100, 300)),
        ((101, 50), (3, 2), (152, 50)),
        ((64, 48), (1, 1), (64, 48)),
        ((64, 48), (8, 1), (512, 48)),
        ((64, 48), (1, 8), (64, 384)),
        ((64, 48), (801, 100), (64, 48)),
        ((64, 48), (100, 801), (64, 48)),
        ((64, 48), (0, 1), (64, 48)),
        ((64, 48), (1, 0), (64, 48)),
        ((64, 48), (0xFFFFFFFF, 0xFFFFFFFF), (64, 48)),
        ((64, 48), None, (64, 48)),
    ],
)
def test_pixels_are_made_square_by_making_the_picture_larger(
    size: tuple[int, int], ratio: tuple[int, int] | None, square: tuple[int, int]
) -> None:
    assert square_size(*size, ratio) == square


def test_the_limit_of_pixels_holds_for_square_pixels() -> None:
    wide = movie(track(inside=box(b"pasp", struct.pack(">II", 2, 1))))
    assert check(wide, limits=CheckLimits(pixels=2 * 64 * 48)).video.width == 64
    code, message = fault(wide, limits=replace(DEFAULTS, pixels=2 * 64 * 48 - 1))
    assert (code, message) == (
        "unsupported_video",
        "The picture has 6,144 pixels; at most 6,143 are accepted (VIDEOQUEUE_MAX_PIXELS). Make it smaller.",
    )


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
