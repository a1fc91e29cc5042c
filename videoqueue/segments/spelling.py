"""When two texts read in a video count as the same one."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

#: The smallest similarity of two spellings of one text; see `rapidfuzz.distance.Indel`.
SIMILARITY: Final = 0.9
#: Texts with more characters are compared for equality only: the time grows with the product of the lengths.
MAX_COMPARED: Final = 256
#: How many characters are compared in one video: for each text whose folded form is new, its length times the
#: number of texts that it is compared with. Then only equal texts are the same. A page on which each line is
#: misread in each frame needs this after an hour; without a limit a hostile video takes hours.
MAX_EFFORT: Final = 1_000_000_000
#: Texts with more characters are not folded: one character can become 18.
_MAX_FOLDED: Final = 10_000
#: The combining marks that are accents (Unicode block "Combining Diacritical Marks"). Those of other scripts
#: are vowels or change the sound, so that words differ by them.
_ACCENTS: Final = dict.fromkeys(range(0x0300, 0x0370))


def folded(text: str) -> str:
    """Returns the text without case, accents and spaces; unchanged if it has over 10,000 characters."""
    if len(text) <= MAX_COMPARED:
        return _remembered(text)
    return _folded(text) if len(text) <= _MAX_FOLDED else text


def _folded(text: str) -> str:
    if text.isascii():
        return "".join(text.split()).lower()
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold()).translate(_ACCENTS)
    return "".join(unicodedata.normalize("NFC", plain).split())


_remembered = lru_cache(maxsize=8192)(_folded)
