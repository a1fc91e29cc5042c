"""The benchmark of the pipeline makes its clips anew each time, and measures what it says."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.workplace import Workplace
from tests.support.videos import make_video
from videoqueue.pipeline.decode.decoder import open_video

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from benchmarks import backlog, clips, pipeline  # noqa: E402
from benchmarks.encoding import repeat  # noqa: E402
from benchmarks.older import code_of  # noqa: E402
from benchmarks.processes import Bench  # noqa: E402
from benchmarks.stages import STAGES, StageClock  # noqa: E402

SIZE = (640, 360)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    clips.write(tmp_path / "clip.mp4", "lower third", SIZE, 4)
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize("kind", clips.KINDS)
def test_a_clip_is_the_same_each_time_and_tells_the_lines_of_each_frame(tmp_path: Path, kind: str) -> None:
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    lines = clips.write(first, kind, SIZE, 4)
    assert clips.write(second, kind, SIZE, 4) == lines
    assert first.read_bytes() == second.read_bytes()
    with open_video(first) as video:
        assert [frame.image().shape for frame in video.frames()] == [(360, 640, 3)] * 4
    assert [bool(texts) for texts in lines] == [True] * 4


def test_a_longer_clip_has_the_frames_of_the_clip_several_times_at_the_same_rate(
    tmp_path: Path, clip: Path
) -> None:
    repeat(clip, tmp_path / "longer.mp4", 3)
    with open_video(tmp_path / "longer.mp4") as video:
        frames = [(frame.timestamp, frame.image().tobytes()) for frame in video.frames()]
    assert [moment for moment, _ in frames] == pytest.approx([number / clips.RATE for number in range(12)])
    assert [picture for _, picture in frames[:4]] == [picture for _, picture in frames[8:]]


def test_the_time_of_an_inner_stage_is_not_part_of_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0, 0, 3, 4, 9, 29])
    monkeypatch.setattr(time, "process_time", lambda: next(moments))
    clock = StageClock()
    with clock.stage("text detection"), clock.stage("conversion and resize"):
        pass
    seconds = clock.stop()
    assert {stage: seconds[stage] for stage in STAGES if seconds[stage]} == {
        "text detection": 3 + 5,
        "conversion and resize": 1,
        "Python, rest": 20,
    }


def test_every_stage_of_the_pipeline_is_measured(tmp_path: Path, clip: Path) -> None:
    figures = Bench(tmp_path, 1).run("stages", clip, "yolo_ocr")
    assert figures["frames"] == 4
    assert [stage for stage in STAGES if figures["seconds"][stage] > 0] == list(STAGES)


def test_a_side_measures_the_package_in_the_folder_that_it_is_told(tmp_path: Path, clip: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "videoqueue").symlink_to(ROOT / "videoqueue")
    bench = Bench(tmp_path, 1)
    assert bench.run("decode", clip, "ocr_only", code=other)["package"] == str(other / "videoqueue")
    assert bench.run("decode", clip, "ocr_only")["package"] == str(ROOT / "videoqueue")


def test_the_peak_of_a_side_leaves_out_the_memory_of_the_benchmark(tmp_path: Path, clip: Path) -> None:
    held = bytearray(b"x") * (500 * 1024**2)
    assert Bench(tmp_path, 1).run("decode", clip, "ocr_only")["peak_mb"] < len(held) / 1024**2


def test_the_code_of_a_commit_is_the_package_as_it_was(tmp_path: Path) -> None:
    repository, scratch = tmp_path / "repository", tmp_path / "scratch"
    for folder in (repository / "videoqueue", scratch):
        folder.mkdir(parents=True)
    module = repository / "videoqueue" / "__init__.py"
    _git(repository, "init", "--quiet")
    for text in ("OLD = 1\n", "NEW = 2\n"):
        module.write_text(text)
        _git(repository, "add", ".")
        _git(repository, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-mx")
    with code_of("HEAD~1", scratch, repository) as code:
        assert (code / "videoqueue" / "__init__.py").read_text() == "OLD = 1\n"
    assert module.read_text() == "NEW = 2\n"


def test_the_backlog_is_measured_with_the_code_in_the_folder_that_it_is_told(tmp_path: Path) -> None:
    root, used = tmp_path / "root", tmp_path / "used"
    root.mkdir()
    for part in ("videoqueue", "migrations"):
        (root / part).symlink_to(ROOT / part)
    (root / "marked").write_text(f'echo "$1" >> "{used}"; shift; exec "$@"')
    lines = [line.partition(": ") for line in (ROOT / "Procfile").read_text().splitlines()]
    (root / "Procfile").write_text("\n".join(f"{name}: bash marked {name} {run}" for name, _, run in lines))
    side = backlog.Side(root, Workplace(tmp_path / "venv", root), "quick")
    figures = backlog.measure(side, tmp_path / "run", make_video(tmp_path / "tiny.mp4"), 3)
    assert used.read_text().split() == ["release", "web", "worker"]
    assert figures.in_order
    assert min(figures.rate, figures.processor_ms) > 0


def test_an_unknown_commit_ends_the_benchmark_with_its_name(tmp_path: Path) -> None:
    _git(tmp_path, "init", "--quiet")
    with pytest.raises(SystemExit, match="--against nowhere"), code_of("nowhere", tmp_path, tmp_path):
        pass


def test_the_report_has_stages_memory_and_the_comparison_of_threads(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [word for part in ("stages", "memory", "threads") for word in ("--only", part)]
    monkeypatch.setattr(sys, "argv", ["pipeline", "--quick", "--threads=1", *parts, str(clip)])
    pipeline.main()
    printed = capsys.readouterr().out
    assert all(stage in printed for stage in STAGES)
    assert "  clip " in printed
    assert "40 frames" in printed
    assert "of the limit of 2048 MB" in printed
    assert "1, 2 and 4 threads, clip: the same" in printed


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)
