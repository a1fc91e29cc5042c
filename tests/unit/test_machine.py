"""Limits of control groups, versions 1 and 2, read from folders made like the kernel's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from videoqueue.errors import SettingsError
from videoqueue.settings import Settings, load_settings
from videoqueue.settings.capacity import needed_memory
from videoqueue.settings.machine import usable_cores, usable_memory
from videoqueue.worker.factory import check_memory

MIB = 1024**2
GIB = 1024**3
#: What version 1 shows for "no limit".
NONE = str(2**63 - 4096)

V2 = "26 23 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
V1 = (
    "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
)
#: Docker on version 1: the group is named from the machine's top, but mounted at the container's.
DOCKER = V1.replace("0:26 /", "0:26 /docker/4f2a").replace("0:27 /", "0:27 /docker/4f2a")


@pytest.fixture(autouse=True)
def sixty_four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))


def machine(
    root: Path, group: str = "", mounts: str = "", files: dict[str, str] | None = None, total: int = 64 * GIB
) -> Path:
    """Makes `proc` and `sys` below `root`; names in `files` are relative to /sys/fs/cgroup."""
    entries = {
        "proc/self/cgroup": group,
        "proc/self/mountinfo": f"23 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mounts}\n",
        "proc/meminfo": f"MemTotal:       {total // 1024} kB\nMemFree:  5 kB\n",
    }
    entries |= {f"sys/fs/cgroup/{name}": content for name, content in (files or {}).items()}
    for name, content in entries.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def settings_on(root: Path, **environ: str) -> Settings:
    return load_settings({f"VIDEOQUEUE_{name}": value for name, value in environ.items()}, root)


def test_without_groups_the_machine_counts(tmp_path: Path) -> None:
    assert usable_memory(machine(tmp_path)) == 64 * GIB
    assert usable_cores(tmp_path) == 64
    assert usable_memory(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("group", "mounts", "files"),
    [
        ("0::/app", V2, {"app/memory.max": str(GIB), "memory.max": "max"}),
        ("0::/app", V2, {"app/memory.max": "max", "app/memory.high": str(GIB)}),
        ("0::/a/b/c", V2, {"a/b/c/memory.max": str(4 * GIB), "a/memory.max": str(GIB)}),
        ("0::/", V2, {"memory.max": str(GIB)}),
        ("0::/elsewhere", V2, {"memory.max": str(GIB)}),
        ("4:memory:/app", V1, {"memory/app/memory.limit_in_bytes": str(GIB)}),
        (
            "4:memory:/a/b",
            V1,
            {"memory/a/b/memory.limit_in_bytes": NONE, "memory/a/memory.limit_in_bytes": str(GIB)},
        ),
        (
            "4:memory:/app",
            V1,
            {
                "memory/app/memory.limit_in_bytes": NONE,
                "memory/app/memory.stat": f"cache 5\nhierarchical_memory_limit {GIB}\ntotal_rss 7",
            },
        ),
        ("4:memory:/docker/4f2a", DOCKER, {"memory/memory.limit_in_bytes": str(GIB)}),
        ("4:memory:/docker/4f2a/x", DOCKER, {"memory/x/memory.limit_in_bytes": str(GIB)}),
        (
            "4:memory:/app\n0::/other",
            f"{V1}\n{V2.replace('/sys/fs/cgroup', '/sys/fs/cgroup/unified')}",
            {"memory/app/memory.limit_in_bytes": str(GIB), "unified/other/memory.max": "max"},
        ),
    ],
)
def test_the_smallest_memory_limit_on_the_path_counts(
    tmp_path: Path, group: str, mounts: str, files: dict[str, str]
) -> None:
    assert usable_memory(machine(tmp_path, group, mounts, files)) == GIB


@pytest.mark.parametrize(
    ("group", "mounts", "files"),
    [
        ("0::/app", V2, {"app/memory.max": "max"}),
        ("4:memory:/app", V1, {"memory/app/memory.limit_in_bytes": NONE}),
        ("0::/app", V2, {"app/memory.max": "nonsense", "app/memory.high": ""}),
        ("nonsense", "nonsense - cgroup2", {}),
        ("0::/app", V2, {"neighbour/memory.max": str(GIB)}),
    ],
)
def test_a_group_without_a_limit_is_none(
    tmp_path: Path, group: str, mounts: str, files: dict[str, str]
) -> None:
    assert usable_memory(machine(tmp_path, group, mounts, files)) == 64 * GIB


@pytest.mark.parametrize(
    ("group", "mounts", "files", "cores"),
    [
        ("0::/app", V2, {"app/cpu.max": "400000 100000"}, 4),
        ("0::/app", V2, {"app/cpu.max": "max 100000"}, 64),
        ("0::/a/b", V2, {"a/b/cpu.max": "max 100000", "a/cpu.max": "250000 100000"}, 2),
        ("0::/app", V2, {"app/cpu.max": "50000 100000"}, 1),
        (
            "3:cpu,cpuacct:/app",
            V1,
            {f"cpu,cpuacct/app/cpu.cfs_{n}_us": v for n, v in [("quota", "600000"), ("period", "100000")]},
            6,
        ),
        (
            "3:cpu,cpuacct:/app",
            V1,
            {f"cpu,cpuacct/app/cpu.cfs_{n}_us": v for n, v in [("quota", "-1"), ("period", "100000")]},
            64,
        ),
        ("3:cpu,cpuacct:/app", V1, {"cpu,cpuacct/app/cpu.cfs_quota_us": "100000"}, 64),
    ],
)
def test_the_smallest_quota_of_time_counts(
    tmp_path: Path, group: str, mounts: str, files: dict[str, str], cores: int
) -> None:
    assert usable_cores(machine(tmp_path, group, mounts, files)) == cores


def test_this_process_has_cores_and_memory() -> None:
    assert usable_cores() >= 1
    assert (usable_memory() or 0) > 0


def test_a_large_machine_gets_8_threads_and_2_gib(tmp_path: Path) -> None:
    settings = settings_on(machine(tmp_path))
    assert (settings.inference_threads, settings.sandbox_memory_bytes) == (8, 2 * GIB)
    check_memory(settings)


def test_threads_and_memory_are_shared_among_all_children(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/app", V2, {"app/cpu.max": "800000 100000", "app/memory.max": str(5 * GIB)})
    settings = settings_on(root, WORKER_PROCESSES="2", WORKER_THREADS="2")
    assert settings.inference_threads == 2
    assert 4 * settings.sandbox_memory_bytes + 2 * 96 * MIB < 5 * GIB
    check_memory(settings)
    assert settings_on(root, INFERENCE_THREADS="5").inference_threads == 5


def test_1_gib_is_enough_for_one_thread_and_leaves_room_for_the_worker(tmp_path: Path) -> None:
    """Also where a platform shows 8 or more cores."""
    settings = settings_on(
        machine(tmp_path, "4:memory:/app", V1, {"memory/app/memory.limit_in_bytes": str(GIB)})
    )
    assert (settings.inference_threads, settings.sandbox_memory_bytes) == (1, 896 * MIB)
    check_memory(settings)


@pytest.mark.parametrize(("memory", "threads"), [(1024, 2), (1100, 3), (1360, 8), (2048, 8)])
def test_the_default_of_threads_fits_into_the_memory_of_a_child(
    tmp_path: Path, memory: int, threads: int
) -> None:
    settings = settings_on(machine(tmp_path), SANDBOX_MEMORY_BYTES=str(memory * MIB))
    assert settings.inference_threads == threads
    check_memory(settings)


def test_memory_too_low_for_the_models_is_refused_with_the_number_needed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        check_memory(settings_on(machine(tmp_path), SANDBOX_MEMORY_BYTES=str(512 * MIB)))
    assert str(caught.value) == (
        f"VIDEOQUEUE_SANDBOX_MEMORY_BYTES={512 * MIB} is too low (the default is the available memory of "
        "this container or machine). With VIDEOQUEUE_INFERENCE_THREADS=1, loading the models and reading "
        f"1080p needs {800 * MIB} bytes. Set it to at least {800 * MIB} on a machine with enough memory."
    )
    with pytest.raises(
        SettingsError, match=rf"at least {1360 * MIB} .*, or lower VIDEOQUEUE_INFERENCE_THREADS"
    ):
        check_memory(settings_on(machine(tmp_path), SANDBOX_MEMORY_BYTES=str(GIB), INFERENCE_THREADS="8"))
    with pytest.raises(SettingsError, match="is too low"):
        check_memory(settings_on(machine(tmp_path / "small", total=512 * MIB)))


@pytest.mark.parametrize("setting", ["YOLO_MODEL", "OCR_RECOGNIZER"])
def test_a_model_of_ones_own_needs_twice_its_size_more(setting: str, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    with model.open("wb") as file:
        file.truncate(100 * MIB)
    assert needed_memory(1, [str(model), ""]) == 1000 * MIB
    assert needed_memory(1, [str(model)] * 2) == 1200 * MIB
    own = settings_on(machine(tmp_path), SANDBOX_MEMORY_BYTES=str(1200 * MIB), **{setting: str(model)})
    assert own.inference_threads == 1
    with pytest.raises(SettingsError, match=rf"at least {1000 * MIB} "):
        check_memory(replace(own, sandbox_memory_bytes=1000 * MIB - 1))
