"""One suite for every storage, against a real folder and a real S3 endpoint."""

from __future__ import annotations

import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support import s3_server
from tests.support.full_disk import files_of_at_most, without_links
from tests.support.places import (
    HOUR,
    KEY,
    MIB,
    Bucket,
    Place,
    bucket,
    folder,
    get,
    in_rightless,
    open_bucket,
    place,
    put,
    refusal,
    rightless,
    server,
    unchecked,
)
from videoqueue.errors import (
    ObjectMissingError,
    SettingsError,
    StorageFullError,
    StorageUnavailableError,
    VideoqueueError,
)
from videoqueue.storage import open_storage

__all__ = ["bucket", "folder", "place", "rightless", "server"]

# Both storages


@pytest.mark.parametrize("size", [0, 1000, 8 * MIB, 8 * MIB + 1, 20 * MIB])
def test_what_was_committed_is_read_back(place: Place, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    put(place.storage, KEY, data)
    assert get(place.storage, KEY, tmp_path) == data
    assert place.left() == [KEY]


def test_a_piece_larger_than_a_part_is_cut_up(place: Place, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(20 * MIB)
    put(place.storage, KEY, data, piece=len(data))
    assert get(place.storage, KEY, tmp_path) == data


@pytest.mark.parametrize("size", [0, 1000, 20 * MIB])
def test_leaving_without_commit_leaves_nothing(place: Place, size: int) -> None:
    with place.storage.open_writer(KEY) as writer:
        writer.write(bytes(size))
        assert not place.storage.exists(KEY)
    assert place.left() == []


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_in_the_with_block_passes_and_leaves_nothing(
    place: Place, error: type[BaseException]
) -> None:
    with pytest.raises(error), place.storage.open_writer(KEY) as writer:  # noqa: PT012 - the block is the case
        writer.write(bytes(20 * MIB))
        raise error
    assert place.left() == []


def test_an_exception_after_commit_keeps_the_object(place: Place, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), place.storage.open_writer(KEY) as writer:  # noqa: PT012
        writer.write(b"whole")
        writer.commit()
        raise ZeroDivisionError
    assert get(place.storage, KEY, tmp_path) == b"whole"


def test_a_closed_writer_takes_nothing_more(place: Place) -> None:
    with place.storage.open_writer(KEY) as writer:
        writer.commit()
        with pytest.raises(ValueError, match="not open"):
            writer.write(b"late")
        with pytest.raises(ValueError, match="not open"):
            writer.commit()


def test_a_commit_replaces_the_object_and_an_abort_keeps_it(place: Place, tmp_path: Path) -> None:
    put(place.storage, KEY, b"first")
    with place.storage.open_writer(KEY) as writer:
        writer.write(b"never")
    assert get(place.storage, KEY, tmp_path) == b"first"
    put(place.storage, KEY, b"second, and longer")
    assert get(place.storage, KEY, tmp_path) == b"second, and longer"
    assert place.left() == [KEY]


def test_two_writers_of_one_key_do_not_mix(place: Place, tmp_path: Path) -> None:
    with place.storage.open_writer(KEY) as one, place.storage.open_writer(KEY) as two:
        for _ in range(3):
            one.write(b"1" * 4 * MIB)
            two.write(b"2" * 4 * MIB)
        one.commit()
        two.commit()
    assert get(place.storage, KEY, tmp_path) == b"2" * 12 * MIB
    assert place.left() == [KEY]


def test_threads_share_a_storage(place: Place, tmp_path: Path) -> None:
    failed = []

    def work(number: int) -> None:
        key = f"inputs/{number}.mp4"
        try:
            put(place.storage, key, bytes([number]) * 1000)
            place.storage.download(key, tmp_path / str(number), unchecked)
        except VideoqueueError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [(tmp_path / str(n)).read_bytes() for n in range(8)] == [bytes([n]) * 1000 for n in range(8)]


def test_a_missing_key_is_said_to_be_missing_and_leaves_no_file(place: Place, tmp_path: Path) -> None:
    put(place.storage, "inputs/other.mp4", b"x")
    with pytest.raises(ObjectMissingError):
        place.storage.download(KEY, tmp_path / "copy", unchecked)
    assert not (tmp_path / "copy").exists()
    assert not place.storage.exists(KEY)


def test_deleting_twice_is_no_error(place: Place) -> None:
    put(place.storage, KEY, b"x")
    assert place.storage.exists(KEY)
    place.storage.delete(KEY)
    assert not place.storage.exists(KEY)
    place.storage.delete(KEY)
    assert place.left() == []


def test_only_objects_older_than_the_age_are_listed(place: Place) -> None:
    for key in ("inputs/old.mp4", "inputs/new.mp4", "inputs/deep/er/old.mp4"):
        put(place.storage, key, b"x")
    place.age("inputs/old.mp4", 2 * HOUR)
    place.age("inputs/deep/er/old.mp4", 2 * HOUR)
    place.leave_unfinished()
    assert sorted(place.storage.list_older_than(HOUR)) == ["inputs/deep/er/old.mp4", "inputs/old.mp4"]
    assert sorted(place.storage.list_older_than(3 * HOUR)) == []


def test_listing_an_unused_storage_gives_nothing(place: Place) -> None:
    assert list(place.storage.list_older_than(0)) == []
    assert place.storage.remove_stale(0) == 0


def test_objects_may_be_deleted_while_they_are_listed(place: Place) -> None:
    for number in range(50):
        put(place.storage, f"inputs/{number}.mp4", b"")
        place.age(f"inputs/{number}.mp4", 2 * HOUR)
    for key in place.storage.list_older_than(HOUR):
        place.storage.delete(key)
    assert place.left() == []


def test_a_usable_storage_passes_the_check_and_stays_empty(place: Place) -> None:
    place.storage.check()
    assert place.left() == []


@pytest.mark.parametrize(
    "use",
    [
        lambda storage, path: storage.check(),
        lambda storage, path: storage.exists(KEY),
        lambda storage, path: storage.delete(KEY),
        lambda storage, path: storage.download(KEY, path / "copy", unchecked),
        lambda storage, path: list(storage.list_older_than(0)),
        lambda storage, path: storage.remove_stale(0),
        lambda storage, path: put(storage, KEY, b"x"),
        lambda storage, path: put(storage, KEY, bytes(20 * MIB)),
    ],
    ids=["check", "exists", "delete", "download", "list", "remove_stale", "put", "put_large"],
)
def test_a_storage_that_is_gone_is_unavailable_and_its_objects_not_missing(
    place: Place, tmp_path: Path, use: Any
) -> None:
    place.storage.check()
    place.make_unusable()
    with pytest.raises(StorageUnavailableError) as caught:
        use(place.storage, tmp_path)
    message = str(caught.value)
    assert [word for word in (str(tmp_path), "bucket", "127.0.0.1", "Error", KEY) if word in message] == []


@pytest.mark.parametrize(
    "key",
    [
        *("", "/etc/passwd", "../x.mp4", "inputs/../../x", "inputs/./x", "inputs//x", ".part-0", "~root"),
        *("inputs/.part-0", "inputs/x\n", "inputs/x\0", "inputs\\x", "INPUTS/X", "inputs/ü", "inputs/"),
        *("a/b/c/d/e/f", "x" * 129),
    ],
)
def test_a_key_that_could_lead_elsewhere_is_refused(place: Place, tmp_path: Path, key: Any) -> None:
    for use in (
        place.storage.open_writer,
        place.storage.delete,
        place.storage.exists,
        lambda refused: place.storage.download(refused, tmp_path / "copy", unchecked),
    ):
        with pytest.raises(ValueError, match="not a storage key"):
            use(key)


def test_a_full_disk_at_the_reader_leaves_no_copy(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_links(monkeypatch)
    put(place.storage, KEY, bytes(1000))
    with files_of_at_most(500), pytest.raises(StorageFullError):
        place.storage.download(KEY, tmp_path / "copy", unchecked)
    assert not (tmp_path / "copy").exists()


# S3


def test_an_abandoned_upload_is_aborted_when_it_is_stale(bucket: Bucket) -> None:
    bucket.leave_unfinished()
    assert bucket.storage.remove_stale(100 * 365 * 24 * HOUR) == 0
    assert bucket.left() == [KEY]
    assert bucket.storage.remove_stale(HOUR) == 1
    assert bucket.left() == []


def test_uploads_below_another_prefix_are_left_alone(bucket: Bucket, server: s3_server.S3Server) -> None:
    bucket.leave_unfinished()
    assert Bucket(server).storage.remove_stale(HOUR) == 0
    assert bucket.left() == [KEY]


def test_who_may_not_list_unfinished_uploads_is_told_and_goes_on(
    server: s3_server.S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with in_rightless(server, monkeypatch, unfinished=False) as bucket:
        bucket.leave_unfinished()
        assert bucket.storage.remove_stale(HOUR) == 0
        assert bucket.left() == [KEY]
    assert "grant s3:ListBucketMultipartUploads" in caplog.text


def test_an_object_that_may_not_be_read_is_not_missing(
    rightless: Bucket, server: s3_server.S3Server, tmp_path: Path
) -> None:
    put(rightless.storage, KEY, b"x")

    def refuse(**_kwargs: Any) -> None:
        raise refusal("AccessDenied", 403, "GetObject")

    rightless.storage._client.meta.events.register("before-call.s3.GetObject", refuse)
    with pytest.raises(StorageUnavailableError):
        rightless.storage.download(KEY, tmp_path / "copy", unchecked)


@pytest.mark.parametrize("code", ["AccessDenied", "SlowDown", "InvalidAccessKeyId", "ExpiredToken"])
@pytest.mark.parametrize(
    ("operation", "use"),
    [
        ("ListObjectsV2", lambda storage, path: storage.check()),
        ("PutObject", lambda storage, path: put(storage, KEY, b"x")),
        ("GetObject", lambda storage, path: storage.download(KEY, path / "copy", unchecked)),
        ("DeleteObject", lambda storage, path: storage.delete(KEY)),
    ],
)
def test_the_cause_of_an_error_is_kept_for_the_log(
    bucket: Bucket, tmp_path: Path, code: str, operation: str, use: Any
) -> None:
    put(bucket.storage, KEY, b"x")

    def fail(**_kwargs: Any) -> None:
        raise ClientError({"Error": {"Code": code}}, operation)

    bucket.storage._client.meta.events.register(f"before-call.s3.{operation}", fail)
    with pytest.raises(StorageUnavailableError) as caught:
        use(bucket.storage, tmp_path)
    assert code in str(caught.value.__cause__)
    assert code not in str(caught.value)


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_a_failure_in_a_large_upload_aborts_it(bucket: Bucket, operation: str) -> None:
    def fail(**_kwargs: Any) -> None:
        raise ClientError({"Error": {"Code": "InternalError"}}, operation)

    bucket.storage._client.meta.events.register(f"before-call.s3.{operation}", fail)
    with pytest.raises(StorageUnavailableError):
        put(bucket.storage, KEY, bytes(20 * MIB))
    assert bucket.left() == []


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("QuotaExceeded", 403, StorageFullError),
        ("XMinioStorageFull", 400, StorageFullError),
        ("InternalError", 507, StorageFullError),
        ("AccessDenied", 403, StorageUnavailableError),
        ("SlowDown", 503, StorageUnavailableError),
        ("InvalidAccessKeyId", 403, StorageUnavailableError),
    ],
)
def test_an_error_of_s3_is_translated(bucket: Bucket, code: str, status: int, expected: Any) -> None:
    def fail(**_kwargs: Any) -> None:
        raise refusal(code, status, "PutObject")

    bucket.storage._client.meta.events.register("before-call.s3.PutObject", fail)
    with pytest.raises(expected):
        put(bucket.storage, KEY, b"x")


def test_a_port_where_nobody_listens_is_unavailable_within_seconds(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{unused.getsockname()[1]}")
        storage = open_storage("s3://videos/x", Path("unused"))
        begun = time.monotonic()
        with pytest.raises(StorageUnavailableError):
            storage.check()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/videos/x/k"),
        ("http://minio.example:9000", "http://minio.example:9000/videos/x/k"),
        ("", "https://videos.s3.amazonaws.com/x/k"),
    ],
)
def test_the_bucket_is_in_the_path_for_every_endpoint_but_aws(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, endpoint: str, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    client = open_bucket("s3://videos/x")._client
    signed = client.generate_presigned_url("get_object", Params={"Bucket": "videos", "Key": "x/k"})
    assert signed.split("?")[0] == url


def test_a_style_chosen_in_awss_own_file_is_kept(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n    addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio.example:9000")
    client = open_bucket("s3://videos/x")._client
    signed = client.generate_presigned_url("get_object", Params={"Bucket": "videos", "Key": "x/k"})
    assert signed.split("?")[0] == "http://videos.minio.example:9000/x/k"


def test_parts_grow_so_that_ten_thousand_hold_any_video(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videoqueue.storage.s3_writer.PART_BYTES", 10)
    monkeypatch.setattr("videoqueue.storage.s3_writer.PARTS_PER_SIZE", 2)
    sizes = []

    def note(params: Any, **_kwargs: Any) -> None:
        sizes.append(len(params["body"].getvalue()))

    bucket.storage._client.meta.events.register("before-call.s3.UploadPart", note)
    with bucket.storage.open_writer(KEY) as writer:
        writer.write(bytes(95))
    assert sizes == [10, 10, 20, 20, 30]


def test_an_endpoint_that_is_no_url_is_a_bad_setting(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not a url")
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL_S3"):
        open_storage("s3://videos/x", Path("unused"))
