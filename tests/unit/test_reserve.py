"""The space that uploads leave free: how much it is, when it is asked, and what may use it."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.full_disk import without_links
from tests.support.records import new_job
from tests.support.videos import make_video
from videoqueue.app import create_app
from videoqueue.errors import StorageFullError
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.services import Services, build_reserve, build_storage
from videoqueue.settings import load_settings
from videoqueue.storage import open_storage
from videoqueue.storage.reserve import Reserve, Volume, require_room_for_copy

MIB, GIB, TIB = 1024**2, 1024**3, 1024**4
KEY = "inputs/" + "a" * 32 + ".mp4"


@pytest.mark.parametrize(
    ("total", "reserve"),
    [(96 * MIB, 24 * MIB), (2 * GIB, GIB // 2), (4 * GIB, GIB), (10 * GIB, GIB), (TIB, TIB // 20)],
)
def test_the_default_is_a_gibibyte_or_five_percent_but_at_most_a_quarter(total: int, reserve: int) -> None:
    assert Volume(total, 0).reserve(None) == reserve
    assert Volume(total, 0).reserve(0) == 0
    assert Volume(total, 0).reserve(5) == 5


def test_a_volume_is_asked_for_what_an_ordinary_user_can_still_write(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    volume = Volume.of(tmp_path / "not" / "there" / "yet")
    assert volume.total == found.f_blocks * found.f_frsize
    assert abs(volume.free - found.f_bavail * found.f_frsize) < 10 * GIB


def test_a_service_whose_reserve_leaves_no_room_says_so_at_its_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    huge = 10**18
    total = Volume.of(tmp_path).total
    for given, lines in (("1", 0), (str(huge), 1)):
        caplog.clear()
        create_app(
            load_settings(
                {
                    "REDIS_URL": "redis://127.0.0.1:1",
                    "VIDEOQUEUE_DATA_DIR": str(tmp_path),
                    "VIDEOQUEUE_RESERVE_BYTES": given,
                }
            )
        )
        said = [line for line in caplog.messages if "(VIDEOQUEUE_RESERVE_BYTES)" in line]
        assert len(said) == lines
    assert said[0].startswith(f"Uploads are refused: {huge} bytes have to stay free")
    assert f"has {total} bytes" in said[0]


class Disk:
    """Volumes of 1000 MiB, by folder, with the given free space."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free: dict[Path, int] = {}
        self.free_files = 1000
        real = os.statvfs

        def statvfs(folder: Any) -> Any:
            for known, free in self.free.items():
                if Path(folder).is_relative_to(known):
                    return SimpleNamespace(
                        f_blocks=1000, f_frsize=MIB, f_bavail=free, f_files=1000, f_favail=self.free_files
                    )
            return real(folder)

        monkeypatch.setattr(os, "statvfs", statvfs)


def test_a_volume_that_changes_while_it_is_examined_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter(range(1000, 0, -1))
    monkeypatch.setattr(Volume, "of", lambda _folder: Volume(2000, next(free)))
    reserve = Reserve(tmp_path / "videos", [tmp_path, tmp_path / "queue"], 1500)
    assert len(list(reserve.shortages())) == 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_volume_without_room_for_further_files_takes_no_videos(disk: Disk) -> None:
    videos = Path("/videos")
    disk.free = {videos: 1000}
    small, large = Reserve(videos, [], 10 * MIB), Reserve(videos, [], 200 * MIB)
    disk.free_files = 160
    small.require(MIB)
    assert list(small.shortages()) == []
    with pytest.raises(StorageFullError, match=r"further files: .*\(VIDEOQUEUE_RESERVE_BYTES\)"):
        large.require(MIB)
    assert [line[:41] for line in large.shortages()] == ["Uploads are refused: the volume of /video"]
    disk.free_files = 159
    with pytest.raises(StorageFullError, match="further files"):
        small.require()
    Reserve(videos, [], 0).require(MIB)
    disk.free_files = 250  # a quarter of them all
    large.require(MIB)


def test_only_the_volume_of_the_videos_needs_room_for_them(disk: Disk) -> None:
    videos, others = Path("/videos"), Path("/others")
    disk.free = {videos: 300, others: 300}
    reserve = Reserve(videos, [others], 200 * MIB)
    reserve.require(100 * MIB)
    with pytest.raises(StorageFullError, match=r"209715200 bytes stay free .*VIDEOQUEUE_RESERVE_BYTES"):
        reserve.require(100 * MIB + 1)
    disk.free = {videos: 1000, others: 199}
    with pytest.raises(StorageFullError):
        reserve.require()
    disk.free = {videos: 1000, others: 200}
    reserve.require(800 * MIB)


@pytest.mark.parametrize(
    ("environ", "videos", "others"),
    [
        ({}, "/data/objects", ["/data", "/data"]),
        ({"VIDEOQUEUE_STORAGE_URL": "s3://bucket/x"}, None, ["/data", "/data"]),
        ({"VIDEOQUEUE_STORAGE_URL": "file:///v", "DATABASE_URL": "postgresql://h/d"}, "/v", ["/data"]),
        ({"VIDEOQUEUE_STORAGE_URL": "s3://bucket/x", "DATABASE_URL": "postgresql://h/d"}, None, []),
        ({"DATABASE_URL": "sqlite:////other/x.db"}, "/data/objects", ["/other", "/data"]),
    ],
)
def test_the_volumes_are_those_that_hold_what_the_service_keeps(
    environ: dict[str, str], videos: str | None, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    settings = load_settings({"VIDEOQUEUE_DATA_DIR": "/data", **environ})
    reserve = build_reserve(settings, build_storage(settings).local_folder)
    assert reserve.videos == (None if videos is None else Path(videos))
    assert list(map(str, reserve.others)) == others


def test_a_file_system_that_does_not_know_its_size_accepts_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown = SimpleNamespace(f_blocks=0, f_frsize=4096, f_bavail=0, f_files=0, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _folder: unknown)
    Reserve(Path("/x"), [], None).require(TIB)
    require_room_for_copy(Path("/x"), TIB, None)


@pytest.mark.parametrize(("given", "left"), [(100 * MIB, 50), (0, 0), (None, 125), (900 * MIB, 256)], ids=str)
def test_a_copy_leaves_half_of_the_reserve_free(disk: Disk, given: int | None, left: int) -> None:
    disk.free = {Path("/work"): left + 10}
    require_room_for_copy(Path("/work"), 10 * MIB, given)
    with pytest.raises(StorageFullError):
        require_room_for_copy(Path("/work"), 10 * MIB + 1, given)


@pytest.mark.parametrize(("size", "seconds", "full"), [(100, 59, True), (100, 61, False), (801, 0, False)])
def test_a_refused_video_counts_for_a_minute_unless_it_can_never_fit(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, size: int, seconds: float, full: bool
) -> None:
    reserve = Reserve(Path("/videos"), [], 200 * MIB)
    disk.free = {Path("/videos"): 299}
    reserve.require_usual_room()
    with pytest.raises(StorageFullError):
        reserve.require(size * MIB)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + seconds)
    if full:
        with pytest.raises(StorageFullError):
            reserve.require_usual_room()
        disk.free = {Path("/videos"): 300}
    reserve.require_usual_room()


# Uploads


def test_an_upload_that_would_use_the_reserve_is_507_before_it_is_read(
    client: FlaskClient, services: Services, disk: Disk, tmp_path: Path
) -> None:
    disk.free = {services.settings.data_path: 250}
    video = make_video(tmp_path / "v.mp4").read_bytes()
    sent = {"data": video, "content_type": "video/mp4"}
    body = io.BytesIO(video)
    refused = client.post("/video/submit", **sent, environ_overrides={"wsgi.input": body})
    assert body.tell() == 0
    assert (refused.status_code, refused.get_json()["code"]) == (507, "storage_full")
    assert refused.get_json()["detail"] == (
        "The disk of the service has no room for this video: 262144000 bytes stay free for accepted jobs "
        "(VIDEOQUEUE_RESERVE_BYTES). Delete jobs that are no longer needed, or send the video again when the "
        "operator has freed space."
    )
    assert refused.headers["Connection"] == "close"
    assert client.get("/readyz").get_json()["degraded"] == ["storage_full", "no_live_worker"]
    disk.free = {services.settings.data_path: 251}
    assert client.get("/readyz").get_json()["degraded"] == ["no_live_worker"]
    assert client.post("/video/submit", **sent).status_code == 202


def test_a_full_disk_is_degraded_and_everything_but_uploads_goes_on(
    client: FlaskClient, services: Services, disk: Disk
) -> None:
    job_id, _ = services.store.create(new_job(input_key=KEY))
    disk.free = {services.settings.data_path: 249}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.get_json()["status"]) == (200, "ready")
    assert ready.get_json()["degraded"] == ["storage_full", "no_live_worker"]
    assert client.get(f"/video/status/{job_id}").status_code == 200
    claim = services.store.claim(job_id, "worker")
    assert claim is not None
    services.store.checkpoint(claim, 0, b"{}", [0], 0.5)
    services.store.complete(claim, services.results.etag(job_id, ALL_OWNERS))
    assert client.get(f"/video/results/{job_id}").status_code == 200
    assert client.delete(f"/jobs/{job_id}").status_code == 204


@pytest.mark.parametrize("how", ["raw", "form"])
def test_an_upload_of_unknown_size_ends_when_it_reaches_the_reserve_and_leaves_nothing(
    client: FlaskClient, services: Services, disk: Disk, tmp_path: Path, how: str
) -> None:
    folder = services.settings.data_path
    video = make_video(tmp_path / "v.mp4").read_bytes()
    body = video + (4 * MIB).to_bytes(4, "big") + b"free" + bytes(4 * MIB - 8)
    kind = "video/mp4"
    if how == "form":
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="v.mp4"\r\n\r\n'
        body, kind = head + body + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"

    def pieces() -> Any:
        """Others use the disk up meanwhile."""
        for start in range(0, len(body), 64 * 1024):
            disk.free = {folder: 251 if start < MIB else 250}
            yield body[start : start + 64 * 1024]

    class Stream:
        def __init__(self) -> None:
            self.left = pieces()

        def read(self, _size: int = -1) -> bytes:
            return next(self.left, b"")

    environ = {"wsgi.input": Stream(), "wsgi.input_terminated": True, "CONTENT_TYPE": kind}
    answer = client.post("/video/submit", environ_overrides=environ)
    assert (answer.status_code, answer.get_json()["code"]) == (507, "storage_full")
    disk.free = {folder: 251}
    assert "storage_full" in client.get("/readyz").get_json()["degraded"]
    assert [path for path in (folder / "objects").rglob("*") if path.is_file()] == []


# Copies of the worker


def put(root: Path, data: bytes) -> None:
    with open_storage("", root).open_writer(KEY) as writer:
        writer.write(data)
        writer.commit()


def test_a_stored_video_is_processed_without_a_second_copy_on_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    put(tmp_path / "objects", b"video")
    disk.free = {tmp_path: 0}
    copy = tmp_path / "copy"
    open_storage("", tmp_path / "objects").download(KEY, copy, lambda: None)
    assert copy.read_bytes() == b"video"
    assert copy.samefile(tmp_path / "objects" / KEY)
    open_storage("", tmp_path / "objects").delete(KEY)
    assert copy.read_bytes() == b"video"


def test_a_copy_for_another_file_system_leaves_room_for_the_database(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_links(monkeypatch)
    put(tmp_path / "objects", b"video")
    storage, copy = open_storage("", tmp_path / "objects"), tmp_path / "copy"
    disk.free = {tmp_path: 125}
    with pytest.raises(StorageFullError):
        storage.download(KEY, copy, lambda: None)
    assert not copy.exists()
    disk.free = {tmp_path: 126}
    storage.download(KEY, copy, lambda: None)
    assert copy.read_bytes() == b"video"
    assert not copy.samefile(tmp_path / "objects" / KEY)


def test_an_object_that_was_replaced_by_a_link_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "objects", b"video")
    stored_at, copy = tmp_path / "objects" / KEY, tmp_path / "copy"
    link = os.link

    def replaced(*arguments: Any, **names: Any) -> None:
        stored_at.unlink()
        stored_at.symlink_to("/etc/passwd")
        link(*arguments, **names)

    monkeypatch.setattr(os, "link", replaced)
    open_storage("", tmp_path / "objects").download(KEY, copy, lambda: None)
    assert (copy.is_symlink(), copy.read_bytes()) == (False, b"video")


def test_a_download_that_is_ended_leaves_no_link(tmp_path: Path) -> None:
    put(tmp_path / "objects", b"video")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_storage("", tmp_path / "objects").download(KEY, tmp_path / "copy", stop)
    assert not (tmp_path / "copy").exists()
    assert (tmp_path / "objects" / KEY).read_bytes() == b"video"
