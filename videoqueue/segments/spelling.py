"""When two texts read in a video count as the same one."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

#: The smallest similarity of two spellings of one text; see `rapidfuzz.distance.Indel`.
SIMILARITY: Final = 0.9
#: Texts longer than this are compared for equality only: the time grows with the product of the lengths.
MAX_COMPARED: Final = 1000
#: The combining marks that are accents (Unicode block "Combining Diacritical Marks"). Those of other scripts
#: are vowels or change the sound, so that words differ by them.
_ACCENTS: Final = dict.fromkeys(range(0x0300, 0x0370))


@lru_cache(maxsize=8192)
def folded(text: str) -> str:
    """Returns the text without case, accents and spaces."""
    if text.isascii():
        return "".join(text.split()).lower()
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold()).translate(_ACCENTS)
    return "".join(unicodedata.normalize("NFC", plain).split())
