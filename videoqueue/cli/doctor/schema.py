"""Compares the schema of the database with the migrations of this release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from videoqueue.cli.doctor.findings import Finding, failed, ok, warning
from videoqueue.cli.wording import counted

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_PAGE: Final = "docs/deploying.md#updating"
_MIGRATE: Final = (
    "Run `flask --app videoqueue.app db upgrade`, as the Procfile's `release` does. `videoqueue up` does it "
    "at its start."
)


def check_schema(connection: Connection) -> tuple[Finding, bool]:
    """Compares the schema of the database with that of this release.

    Returns:
        The finding, and whether all tables and columns of this release should be there.
    """
    import sqlalchemy as sa
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from videoqueue.app import migrations_folder
    from videoqueue.jobs.tables import JOB

    script = ScriptDirectory(str(migrations_folder()))
    order = [revision.revision for revision in script.walk_revisions()]  # the newest first
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None:
        if not sa.inspect(connection).has_table(JOB.name):
            return failed("schema", "The database has no tables.", _MIGRATE, _PAGE), False
        return warning(
            "schema",
            "The database has tables, but not their revision: they were not made by the release command.",
            f"Run `flask --app videoqueue.app db stamp {order[0]}` if they are those of this release.",
            _PAGE,
        ), True
    if current not in order:
        return warning(
            "schema",
            f"The database is newer than this release: its revision is {current}, not {order[0]}.",
            "Nothing during an update. Otherwise install the release that made it.",
            _PAGE,
        ), True
    behind = order.index(current)
    if behind:
        return failed(
            "schema",
            f"The database is at revision {current}, and this release needs {order[0]}: "
            f"{counted(behind, 'migration')} {'is' if behind == 1 else 'are'} missing.",
            _MIGRATE,
            _PAGE,
        ), False
    return ok("schema", f"The database is at revision {current}, that of this release."), True
