"""Which URLs name a storage, and what opening one loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import KEY, put
from videoqueue.errors import (
    SettingsError,
)
from videoqueue.storage import open_storage


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://x/y", "s3://", "s3:///prefix", "s3://user:secret@bucket/x", "s3://bucket/a//b", "nonsense"),
        *("s3://bucket?x=1", "file://host/x", "file:relative", "file:///x#y", "http://[", "file:///x%00"),
    ],
)
def test_a_url_that_cannot_be_used_names_the_setting_and_not_the_value(url: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        open_storage(url, tmp_path)
    message = str(caught.value)
    assert message.startswith("VIDEOQUEUE_STORAGE_URL cannot be used: it takes file:///FOLDER")
    assert "secret" not in message


def test_a_file_url_names_a_folder(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/with%20blank", Path("unused"))
    put(storage, KEY, b"x")
    assert (tmp_path / "with blank" / KEY).read_bytes() == b"x"


def test_a_folder_does_not_load_boto3() -> None:
    script = (
        "import sys; from pathlib import Path; from videoqueue.storage import open_storage\n"
        "open_storage('', Path('x')); print([m for m in sys.modules if m.startswith('boto')])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
