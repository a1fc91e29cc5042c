import json
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.support.damage import zero
from tests.support.videos import make_video, spoil_samples
from videoqueue.cli import cli, main
from videoqueue.cli.segments import lines_of
from videoqueue.errors import InvalidVideoError, VideoqueueError
from videoqueue.exports.formats import FORMATS
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem


@pytest.mark.parametrize(
    "command", [[], *([name] for name in cli.commands)], ids=lambda command: " ".join(command)
)
def test_every_command_explains_itself(command: list[str]) -> None:
    shown = CliRunner().invoke(cli, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.output
    options = [option for name in command for option in cli.commands[name].params]
    assert all(option.help for option in options if isinstance(option, click.Option))


def test_settings_shows_a_zero_that_is_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOQUEUE_RETENTION_DAYS", "0")
    shown = CliRunner().invoke(cli, ["settings"], catch_exceptions=False).stdout.splitlines()
    values = dict(line.split(maxsplit=1) for line in shown if line and not line.startswith(" "))
    assert values["VIDEOQUEUE_RETENTION_DAYS"] == values["VIDEOQUEUE_TRUSTED_PROXIES"] == "0"
    assert values["PORT"] == values["VIDEOQUEUE_YOLO_CONFIDENCE"] == "-"


def test_process_prints_the_results_as_json(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", "HELLO 42", frames=4)
    done = CliRunner().invoke(cli, ["process", str(video), "--frame-stride", "2"], catch_exceptions=False)
    assert done.exit_code == 0
    items = json.loads(done.stdout)["results"]
    assert [item["frame_index"] for item in items] == [0, 2]
    assert items[0]["result"]["text"] == "HELLO 42"


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FrameItem]]:
    """A video, and its results."""
    video = make_video(tmp_path_factory.mktemp("processed") / "v.mp4", "HELLO 42", frames=4)
    plain = CliRunner().invoke(cli, ["process", str(video)], catch_exceptions=False)
    return video, json.loads(plain.stdout)["results"]


@pytest.mark.parametrize("name", FORMATS)
def test_process_prints_each_format_of_an_export(processed: tuple[Path, list[FrameItem]], name: str) -> None:
    video, items = processed
    done = CliRunner().invoke(cli, ["process", str(video), "--format", name], catch_exceptions=False)
    info = VideoInfo(width=320, height=180, fps=10.0, duration=0.4)
    expected = b"".join(FORMATS[name].write(lambda: iter(items), info))
    assert (done.exit_code, done.stdout_bytes) == (0, expected)


def test_process_says_how_many_frames_are_damaged(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=4)
    intact = CliRunner().invoke(cli, ["process", str(video)], catch_exceptions=False)
    done = CliRunner().invoke(cli, ["process", str(zero(video, [3]))], catch_exceptions=False)

    assert intact.stderr == ""
    assert done.stderr == "1 of the frames could not be decoded: the video is damaged.\n"
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["results"]) == 3


def test_process_of_a_broken_video_says_why_and_leaves_the_json_open(tmp_path: Path) -> None:
    video = spoil_samples(make_video(tmp_path / "v.mp4"))
    done = CliRunner().invoke(cli, ["process", str(video)])
    assert isinstance(done.exception, InvalidVideoError)
    assert "]}" not in done.stdout


def test_a_program_without_stdout_discards_what_it_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr(
        "sys.argv", ["videoqueue", "export", "x", "--format", "csv", "--url", "http://127.0.0.1:1"]
    )
    with pytest.raises(SystemExit):
        main()
    sys.stdout.close()
    assert capsys.readouterr().err.startswith("videoqueue: No response")


def test_an_expected_error_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["videoqueue", "status", "x", "--url", "http://127.0.0.1:1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("videoqueue: No response from http://127.0.0.1:1.")
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--frame-stride", "--max-frames"])
def test_options_below_one_are_refused_by_name(tmp_path: Path, option: str) -> None:
    done = CliRunner().invoke(cli, ["process", str(make_video(tmp_path / "v.mp4")), option, "0"])
    assert done.exit_code == 2
    assert option in done.output


def test_segments_are_lines_by_time_in_which_hostile_text_is_escaped() -> None:
    texts = [{"text": "B\x1b[2J", "start": 0.0, "end": 1.5, "confidence": 0.9, "box": [0, 0, 1, 1]}]
    labels = [{"label": "cat", "start": 0.0, "end": 0.1, "confidence": 0.9, "peak_count": 2}]
    assert list(lines_of({"texts": texts, "labels": labels, "truncated": False})) == [
        "    0.00 s -    0.10 s   [cat x2]",
        "    0.00 s -    1.50 s   B\\x1b[2J",
    ]


def test_a_url_that_is_no_videoqueue_is_told() -> None:
    with pytest.raises(VideoqueueError, match="No response from"):
        CliRunner().invoke(cli, ["results", "x", "--url", "http://127.0.0.1:1"], catch_exceptions=False)
