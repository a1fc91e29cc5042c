"""Checks the settings, and the pipelines that they name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from videoqueue.cli.doctor.findings import Examination, Finding, failed, ok, warning
from videoqueue.cli.wording import counted
from videoqueue.errors import SettingsError
from videoqueue.logs import escape
from videoqueue.settings import Settings
from videoqueue.settings.unknown import unknown_variables

_PAGE = "docs/settings.md"


def check_settings(examination: Examination) -> Iterator[Finding]:
    """Yields a finding for each invalid or unknown variable, or one that there is none."""
    for message in examination.invalid.values():
        yield failed("settings", message, "Correct the variable, or remove it.", _PAGE)
    unknown = unknown_variables(examination.environ)
    for name, nearest in unknown.items():
        remedy = f"Did you mean {nearest}?" if nearest else "Remove it; `videoqueue settings` prints all."
        yield warning("settings", f"{escape(name)} is no setting and is ignored.", remedy, _PAGE)
    if examination.settings.failpoints_dir:
        yield warning(
            "settings",
            "VIDEOQUEUE_FAILPOINTS_DIR is set: processes may crash on purpose.",
            "Remove it; it is for tests only.",
            _PAGE,
        )
    elif not examination.invalid and not unknown:
        names = {entry.metadata["name"] for entry in fields(Settings)}
        given = sum(1 for name in names if examination.environ.get(name, "").strip())
        yield ok("settings", f"All settings are valid. {counted(given, 'setting')} of {len(names)} given.")


def check_pipelines(examination: Examination) -> Iterator[Finding]:
    """Yields whether the pipeline definitions can be read, and the default pipeline is one of them."""
    from videoqueue.services import load_pipelines

    try:
        pipelines = load_pipelines(examination.settings)
    except (SettingsError, OSError) as error:
        yield failed(
            "pipelines",
            examination.masked(str(error)),
            "Correct the file, VIDEOQUEUE_PIPELINES_DIR or VIDEOQUEUE_DEFAULT_PIPELINE. "
            "`videoqueue validate pipelines` also checks the plugins.",
            "docs/plugins.md",
        )
        return
    yield ok("pipelines", f"{', '.join(sorted(pipelines))}.")
