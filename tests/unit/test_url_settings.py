"""A bad URL is refused when settings are read, in one line without any part of its password."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from videoqueue.cli import cli
from videoqueue.errors import SettingsError
from videoqueue.settings import load_settings

BAD = [
    ("DATABASE_URL", "postgres://user:xyzzy1@host:notaport/db", "its port is not a number from 1 to 65535"),
    ("DATABASE_URL", "postgres://user:xyzzy1@host:65536/db", "its port is not a number from 1 to 65535"),
    ("DATABASE_URL", "postgres://user:xyzzy1", "its port is not a number"),
    ("DATABASE_URL", "postgres://user:xyzzy1@xyzzy2@host/db", "unescaped @"),
    ("DATABASE_URL", "postgres://user:xyzzy1/xyzzy2@host/db", "unescaped / before an @"),
    ("DATABASE_URL", "postgres://user:xyzzy1#xyzzy2@host/db", "unescaped #"),
    ("DATABASE_URL", "postgres://user:xyzzy1%xyzzy2@host/db", "unescaped %"),
    ("DATABASE_URL", "postgres://user:xyzzy1%ff@host/db", "unescaped %"),
    ("DATABASE_URL", "postgres://user:xyzzy1?xyzzy2@host/db", "its port is not a number"),
    ("DATABASE_URL", "postgres://user:1?xyzzy1=xyzzy2@host/db", "unknown option"),
    ("DATABASE_URL", "postgres://user:1?xyzzy1@host/db", "not NAME=VALUE"),
    ("DATABASE_URL", "postgres://user:xyzzy1@/db", "has no host"),
    ("DATABASE_URL", "postgres://user:xyzzy1@:5432/db", "has no host"),
    ("DATABASE_URL", "postgres://user:xyzzy1@host,/db", "has no host"),
    ("DATABASE_URL", "postgres://user:xyzzy1@host /db", "a space or a control character"),
    ("DATABASE_URL", "postgres://user:xyzzy1@[host/db", "is invalid"),
    ("DATABASE_URL", "postgres://user:xyzzy1@host/db?pgbouncer=true", "unknown option"),
    ("DATABASE_URL", "postgres://user:xyzzy1@host/db?autocommit=1", "unknown option"),
    ("DATABASE_URL", '"postgres://user:xyzzy1@host/db"', "a URL that begins with postgresql://"),
    ("DATABASE_URL", "user:xyzzy1@host/db", "a URL that begins with postgresql://"),
    ("DATABASE_URL", "sqlite://xyzzy.db", "sqlite:///FILE"),
    ("DATABASE_URL", "sqlite:///:memory:", "sqlite:///FILE"),
    ("DATABASE_URL", "sqlite:///file.db?factory=x", "unknown option"),
    ("REDIS_URL", "redis://:xyzzy1@host:notaport/0", "its port is not a number from 1 to 65535"),
    ("REDIS_URL", "redis://:xyzzy1@xyzzy2@host/0", "unescaped @"),
    ("REDIS_URL", "rediss://:xyzzy1/xyzzy2@host/0", "unescaped / before an @"),
    ("REDIS_URL", "redis://:xyzzy1#xyzzy2@host/0", "unescaped #"),
    ("REDIS_URL", "redis://:xyzzy1%xyzzy2@host/0", "unescaped %"),
    ("REDIS_URL", "redis://:xyzzy1@:6379/0", "does not have exactly one host"),
    ("REDIS_URL", "redis://:xyzzy1@one,two/0", "does not have exactly one host"),
    ("REDIS_URL", "redis://:xyzzy1@host/zero", "its database is not a number"),
    ("REDIS_URL", "redis://:xyzzy1@host/0?nonsense=1", "unknown option"),
    ("REDIS_URL", "redis://:xyzzy1@host/0?decode_responses=1", "unknown option"),
    ("REDIS_URL", "unix://user:xyzzy1@host", "has no path"),
    ("VIDEOQUEUE_URL", "https://user:xyzzy1@xyzzy2@host", "unescaped @"),
    ("VIDEOQUEUE_URL", "https://user:xyzzy1@host:notaport", "its port is not a number"),
    ("VIDEOQUEUE_URL", "https://", "does not have exactly one host"),
    ("VIDEOQUEUE_STORAGE_URL", "s3//user:xyzzy1@bucket", "a URL that begins with file:// or s3://"),
    ("VIDEOQUEUE_STORAGE_URL", "http://user:xyzzy1@bucket", "a URL that begins with file:// or s3://"),
]


@pytest.mark.parametrize(("name", "value", "why"), BAD, ids=[f"{name}={value}" for name, value, _ in BAD])
def test_a_bad_url_is_refused_in_one_line_without_its_password(name: str, value: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}=")
    assert f"cannot be used: {name} takes " in message
    assert why in message
    assert "\n" not in message
    assert "xyzzy1" not in message
    assert "xyzzy2" not in message


def test_the_error_says_how_to_write_what_has_a_meaning_in_a_url() -> None:
    with pytest.raises(SettingsError, match=r"write @ as %40, : as %3A, / as %2F, \? as %3F, # as %23 and %"):
        load_settings({"REDIS_URL": "redis://:a@b@host"})


GOOD = [
    ("postgres://u:p%40%2F%23%25@h:5432/d?sslmode=require", {"host": "h", "port": 5432, "password": "p@/#%"}),
    ("postgres://u:p@[::1]:5432/d", {"host": "::1", "port": 5432}),
    ("postgresql:///d", {"dbname": "d"}),
    ("postgresql://u@/d?host=/run/postgresql", {"host": "/run/postgresql", "user": "u"}),
    ("postgresql://%2Frun%2Fpostgresql/d", {"host": "/run/postgresql"}),
    ("postgresql://h1,h2/d?target_session_attrs=read-write", {"host": "h1,h2", "port": "5432,5432"}),
    (
        "postgres://u:p@h1:1,h2:2/d?target_session_attrs=primary",
        {"host": "h1,h2", "port": "1,2", "user": "u"},
    ),
    ("postgresql://u:p@[::1],h2:2/d", {"host": "::1,h2", "port": "5432,2"}),
    ("postgresql+psycopg://u@/d?host=h1:1&host=h2:2", {"host": "h1,h2", "port": "1,2"}),
    ("postgresql://u@h/d?prepare_threshold=0", {"host": "h", "dbname": "d"}),
]


@pytest.mark.parametrize(("given", "options"), GOOD, ids=[given for given, _ in GOOD])
def test_the_driver_gets_what_a_good_url_says(given: str, options: dict[str, object]) -> None:
    url = sa.make_url(load_settings({"DATABASE_URL": given}).database_url)
    _, found = url.get_dialect()().create_connect_args(url)
    assert {name: found.get(name) for name in options} == options
    assert "prepare_threshold" not in found


@pytest.mark.parametrize(
    "given",
    [
        "redis://host",
        "redis://:p%40ss@host:6379/1",
        "rediss://user:p@host:6380/0?ssl_cert_reqs=none",
        "redis://host/0?socket_timeout=5&health_check_interval=10",
        "unix:///run/valkey.sock?db=1",
        "unix://user:p@/run/valkey.sock",
        "redis://[::1]:6379/0",
    ],
)
def test_a_good_redis_url_is_left_as_it_is(given: str) -> None:
    assert load_settings({"REDIS_URL": given}).redis_url == given


def test_a_data_folder_may_have_any_name() -> None:
    given = load_settings({"VIDEOQUEUE_DATA_DIR": "/data/50%41 off?#x"})
    assert sa.make_url(given.database_url).database == "/data/50%41 off?#x/videoqueue.db"


@pytest.mark.parametrize("url", ["redis://:xyzzy1@host/0", "redis://host/0?password=xyzzy1"])
def test_the_settings_command_shows_no_password(url: str) -> None:
    shown = CliRunner().invoke(cli, ["settings"], env={"REDIS_URL": url})
    assert shown.exit_code == 0
    assert "redis://..." in shown.output
    assert "xyzzy1" not in shown.output


@pytest.mark.parametrize(
    ("url", "code"), [("http://u:xyzzy1@127.0.0.1:1", 1), ("http://u:xyzzy1@xyzzy2@host", 2), ("nonsense", 2)]
)
def test_a_command_repeats_no_password_of_its_url(url: str, code: int) -> None:
    done = CliRunner().invoke(cli, ["status", "x", "--url", url])
    assert done.exit_code == code
    assert "xyzzy" not in done.output
    assert "Traceback" not in done.output
