"""`scripts/check_servers` without the servers: what it takes from the page, and what it says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from servers import __main__, nginx, page, parts  # noqa: E402
from servers.parts import Check, NotInstalled, Options, at_most  # noqa: E402


def test_a_missing_server_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(parts, "SERVER_FOLDERS", "")
    assert __main__.main(["nginx"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "check_servers: nginx is not installed. Install it: apt install nginx\n",
    )


@pytest.mark.parametrize(
    ("found", "code", "line"),
    [
        (401, 0, "nginx: ok      it is refused\nnginx: all checks passed\n"),
        (200, 1, "nginx: FAILED  it is refused: expected 401, found 200\nnginx: 1 checks failed\n"),
    ],
)
def test_a_failed_check_is_told_with_what_was_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: int, code: int, line: str
) -> None:
    def checks(_options: Options) -> Iterator[Check]:
        yield Check("it is refused", 401, found)

    monkeypatch.setattr(__main__, "PARTS", {"nginx": checks})
    assert (__main__.main([]), capsys.readouterr().out) == (code, line)


def test_the_other_parts_are_checked_if_a_server_is_missing_or_a_part_breaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_options: Options) -> Iterator[Check]:
        raise NotInstalled("squid is not installed.")

    def broken(_options: Options) -> Iterator[Check]:
        yield Check("it starts", True, True)
        raise SystemExit("it ended")

    def well(options: Options) -> Iterator[Check]:
        yield at_most("it lasts, in seconds", options.seconds, 3.0)

    monkeypatch.setattr(__main__, "PARTS", {"a": missing, "b": broken, "c": well})
    assert __main__.main(["--seconds", "4", "a", "c"]) == 2
    assert __main__.main([]) == 1
    said = capsys.readouterr()
    assert said.err == "check_servers: squid is not installed.\n" * 2
    assert "b: FAILED  the part was not completed: SystemExit: it ended\nb: 1 checks failed\n" in said.out
    assert said.out.endswith("c: ok      it lasts, in seconds\nc: all checks passed\n")


def test_a_number_that_is_too_high_or_missing_fails_its_check() -> None:
    assert at_most("x", 5, 7.04).line() == "FAILED  x: expected at most 5, found 7.0"
    assert at_most("x", 5, None).line() == "FAILED  x: expected at most 5, found nothing"
    assert at_most("x", 5, 5.0).line() == "ok      x"


def test_rights_and_policy_are_those_of_the_page() -> None:
    rules = page.rights_of_redis("secret")
    assert rules[:4] == ["reset", "on", ">secret", "~dramatiq*"]
    policy = str(page.policy_of_s3("videos", "own"))
    assert "arn:aws:s3:::videos/own/*" in policy
    assert "PREFIX" not in policy


def test_an_unknown_part_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        __main__.main(["apache"])
    assert "there is no part apache; known: nginx" in capsys.readouterr().err


def test_the_page_has_the_configuration_that_is_checked(tmp_path: Path) -> None:
    text = nginx.configuration(tmp_path, 4430, 8001)
    assert text.startswith("server {\n    listen 127.0.0.1:4430 ssl;\n")
    assert text.endswith("proxy_pass http://127.0.0.1:8001;\n    }\n}\n")
    assert "/etc/" not in text
    assert {"VIDEOQUEUE_HOST", "VIDEOQUEUE_OWNER_HEADER", "VIDEOQUEUE_TRUSTED_PROXIES"} == set(
        nginx.service_settings()
    )


def test_a_page_without_what_is_replaced_ends_the_check() -> None:
    with pytest.raises(SystemExit, match=r"has no 'listen 443 ssl;', or several"):
        page.adapted("listen 8443 ssl;", {"listen 443 ssl;": "listen 4430 ssl;"})
    with pytest.raises(SystemExit, match=r"has 0 blocks that begin with 'server \{ # another'"):
        page.block("server { # another")
