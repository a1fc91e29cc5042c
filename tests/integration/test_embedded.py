"""The data folder's lock, the Valkey server that `videoqueue up` brings along, and ports."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.stack import eventually
from videoqueue.errors import VideoqueueError
from videoqueue.supervisor.data_folder import DataFolder
from videoqueue.supervisor.embedded import valkey_program
from videoqueue.supervisor.ports import check_port, free_port
from videoqueue.supervisor.program import Program
from videoqueue.supervisor.supervisor import Supervisor

HOLDER = """
import sys
from videoqueue.supervisor.data_folder import DataFolder
folder = DataFolder(sys.argv[1])
print("HELD", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for that of a socket, which pytest's own need not do."""
    with tempfile.TemporaryDirectory(prefix="vq-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the data folder `tmp_path / "data"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "HELD\n"
        yield process
        process.kill()


def test_a_data_folder_is_created_for_its_owner_alone(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "new" / "data") as folder:
        assert folder.path == tmp_path / "new" / "data"
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_a_second_use_of_a_data_folder_is_refused_with_one_line(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(VideoqueueError) as refused:
        DataFolder(tmp_path / "data")

    assert str(refused.value) == (
        f"{tmp_path / 'data'} is in use by another `videoqueue up` (process {holder.pid}). "
        "Stop it or choose another --data-dir."
    )


def test_a_data_folder_is_free_after_kill_9_of_its_user(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()

    with DataFolder(tmp_path / "data"):
        assert (tmp_path / "data" / "lock").read_text() == f"{os.getpid()}\n"


def test_a_data_folder_is_free_after_close(tmp_path: Path) -> None:
    with DataFolder(tmp_path):
        pass

    DataFolder(tmp_path).close()


def test_child_processes_do_not_keep_the_lock(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with subprocess.Popen(["sleep", "600"], close_fds=False) as child:
        folder.close()
        try:
            DataFolder(tmp_path).close()
        finally:
            child.kill()


def test_a_data_folder_that_cannot_be_made_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(VideoqueueError) as refused:
        DataFolder(tmp_path / "file" / "data")

    assert str(refused.value) == (
        f"{tmp_path / 'file' / 'data'} cannot be used: Not a directory. Choose another --data-dir."
    )


@contextmanager
def running(valkey: Program, lines: list[str] | None = None) -> Iterator[None]:
    log = (lambda _line: None) if lines is None else lines.append
    with Supervisor([valkey], log, backoff=(0.05, 1)).running():
        yield


@contextmanager
def connected(url: str) -> Iterator[redis.Redis]:
    with closing(redis.Redis.from_url(url)) as client:
        yield client


def server_pid(url: str) -> int:
    with connected(url) as client:
        return int(client.info("server")["process_id"])


def test_valkey_answers_on_a_private_socket_and_on_no_port(short_path: Path) -> None:
    with DataFolder(short_path / "data") as folder:
        valkey, url = valkey_program(folder)
        with running(valkey), connected(url) as client:
            assert client.ping()
            assert psutil.Process(server_pid(url)).net_connections(kind="inet") == []

            path = folder.path / "valkey" / "valkey.sock"
            assert url == f"unix://{path}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_valkey_keeps_what_is_written_and_refuses_new_messages_when_full(tmp_path: Path) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    with DataFolder(tmp_path) as folder:
        valkey, url = valkey_program(folder)
        with running(valkey), connected(url) as client:
            assert {name: client.config_get(name)[name] for name in wanted} == wanted


def test_valkey_keeps_a_value_over_kill_9_and_restart(tmp_path: Path) -> None:
    with DataFolder(tmp_path) as folder:
        valkey, url = valkey_program(folder)
        with running(valkey):
            with connected(url) as client:
                client.set("job", "7")
            first = server_pid(url)
            os.kill(first, signal.SIGKILL)
            eventually(lambda: valkey.ready and valkey.ready())

            with connected(url) as client:
                assert client.get("job") == b"7"
            assert server_pid(url) != first


def test_valkey_starts_from_a_file_whose_last_write_was_cut_off(tmp_path: Path) -> None:
    with DataFolder(tmp_path) as folder:
        valkey, url = valkey_program(folder)
        with running(valkey), connected(url) as client:
            client.set("job", "7")
        [file] = (tmp_path / "valkey" / "appendonlydir").glob("*.incr.aof")
        with file.open("ab") as log:
            log.write(b"*3\r\n$3\r\nSET\r\n$3\r\nfo")

        valkey, url = valkey_program(folder)
        with running(valkey), connected(url) as client:
            assert client.get("job") == b"7"


@pytest.mark.parametrize("name", ['a "quoted" name with % and #', "ünïcödé"])
def test_valkey_runs_in_a_folder_of_any_name(short_path: Path, name: str) -> None:
    with DataFolder(short_path / name) as folder:
        valkey, url = valkey_program(folder)
        with running(valkey), connected(url) as client:
            assert client.ping()
            assert (short_path / name / "valkey" / "appendonlydir").is_dir()


@pytest.fixture
def runtime_folder(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    return short_path


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(tmp_path: Path, runtime_folder: Path) -> None:
    with DataFolder(tmp_path / ("deep" * 20) / ("deep" * 20)) as folder:
        valkey, url = valkey_program(folder)
        with running(valkey), connected(url) as client:
            assert client.ping()
            [short] = runtime_folder.iterdir()
            assert url == f"unix://{short}/valkey.sock"
            assert stat.S_IMODE(short.stat().st_mode) == 0o700

    assert list(runtime_folder.iterdir()) == []


def test_a_short_socket_folder_left_by_a_killed_process_is_replaced(
    tmp_path: Path, runtime_folder: Path
) -> None:
    with DataFolder(tmp_path / ("deep" * 30)) as folder:
        valkey_program(folder)
        [short] = runtime_folder.iterdir()
        (short / "stale").touch()
        short.chmod(0o777)

        valkey_program(folder)

        assert list(short.iterdir()) == []
        assert stat.S_IMODE(short.stat().st_mode) == 0o700


def test_a_link_in_place_of_the_short_socket_folder_is_not_followed(
    tmp_path: Path, runtime_folder: Path
) -> None:
    with DataFolder(tmp_path / ("deep" * 30)) as folder:
        valkey_program(folder)
        [short] = runtime_folder.iterdir()
        short.rmdir()
        (tmp_path / "elsewhere").mkdir()
        short.symlink_to(tmp_path / "elsewhere")

        _, url = valkey_program(folder)

        assert not url.startswith(f"unix://{short}")


def test_a_second_valkey_does_not_start_on_the_folder_of_a_running_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videoqueue.supervisor.embedded._OLD_SERVER_SECONDS", 0.2)
    with DataFolder(tmp_path) as folder:
        valkey, _ = valkey_program(folder)
        with running(valkey), pytest.raises(VideoqueueError, match="old server is still running"):
            valkey_program(folder)

        valkey_program(folder)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_free_port_can_be_listened_on(host: str) -> None:
    port = free_port(host)

    check_port(host, port)

    assert 0 < port < 65536


def test_a_port_in_use_is_refused_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(VideoqueueError) as refused:
            check_port("127.0.0.1", port)

    assert str(refused.value) == f"port {port} on 127.0.0.1 is in use; choose another with --port"


def test_a_port_whose_last_connection_has_just_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first keeps the port in TIME_WAIT
        client.close()

    check_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine_is_refused_with_one_line(host: str) -> None:
    with pytest.raises(VideoqueueError) as refused:
        check_port(host, 8000)

    assert str(refused.value) == f"{host} is not an address of this machine; choose another with --host"
