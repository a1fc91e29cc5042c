"""The name under which a browser saves a response."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote

#: What a file's name does not have on some system, or what hides its end: separators, reserved characters,
#: controls, and marks of direction.
_UNSAFE: Final = re.compile(
    '[/\\\\:*?"<>|%\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]'
)
_MAX_BYTES: Final = 150
#: The characters that `filename*` may have besides letters and digits (RFC 8187 section 3.2.1).
_PLAIN: Final = "!#$&+-.^_`|~"


def attachment(name: str | None, fallback: str, extension: str) -> str:
    """Returns the value of Content-Disposition (RFC 6266), with the name in ASCII and in UTF-8.

    Args:
        name: the client's name of the video; its ending such as `.mp4` is left out.
        fallback: the name if there is no other.
        extension: the ending of the file, without a dot.
    """
    stem = _stem(name or "") or fallback
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = _UNSAFE.sub("_", ascii_stem).strip(" ._") or fallback
    encoded = quote(f"{stem}.{extension}", safe=_PLAIN)
    return f"attachment; filename=\"{plain}.{extension}\"; filename*=UTF-8''{encoded}"


def _stem(name: str) -> str:
    """Returns a name without its ending and without what no file's name should have."""
    safe = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip(" .")
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", safe).strip(" .")
    if not stem.strip("_"):
        return ""
    return stem.encode()[:_MAX_BYTES].decode(errors="ignore").strip(" .")
