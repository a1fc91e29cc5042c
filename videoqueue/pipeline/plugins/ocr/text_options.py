"""The options of the plugin, and what their settings are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.options import share_option, whole_option

#: The long side of the largest picture in which text is searched; pixels.
DEFAULT_DETAIL, MIN_DETAIL, MAX_DETAIL = 1920, 320, 2560
DEFAULT_CONFIDENCE = 0.5


@dataclass(frozen=True)
class TextOptions:
    """The options with their defaults.

    Attributes:
        detail: `ocr.detail`, see `DEFAULT_DETAIL`.
        confidence: `ocr.confidence`: lines with a lower score are left out.
        recognizer: `ocr.recognizer`: a recognizer of the operator's own; None for the built-in one.
        charset: `ocr.charset`: the file of its characters; None for those in its metadata.
        recognizer_name: What the operator calls `ocr.recognizer`.
        charset_name: What the operator calls `ocr.charset`.
    """

    detail: int = DEFAULT_DETAIL
    confidence: float = DEFAULT_CONFIDENCE
    recognizer: Path | None = None
    charset: Path | None = None
    recognizer_name: str = "ocr.recognizer"
    charset_name: str = "ocr.charset"

    @classmethod
    def of(cls, options: PluginOptions) -> TextOptions:
        """Returns the options of this plugin.

        Raises:
            PipelineError: A value cannot be used. The text names the setting behind it.
        """
        detail = whole_option(options, "ocr.detail") or DEFAULT_DETAIL
        if not MIN_DETAIL <= detail <= MAX_DETAIL:
            name = options.setting_name("ocr.detail")
            raise PipelineError(f"{name} is {detail}: it takes {MIN_DETAIL} to {MAX_DETAIL} pixels.")
        confidence = share_option(options, "ocr.confidence")
        recognizer, charset = options.values.get("ocr.recognizer"), options.values.get("ocr.charset")
        names = [options.setting_name(option) for option in ("ocr.recognizer", "ocr.charset")]
        if charset and not recognizer:
            raise PipelineError(
                f"{names[1]} is the alphabet of a recognizer of your own. Set {names[0]} too."
            )
        return cls(
            detail,
            DEFAULT_CONFIDENCE if confidence is None else confidence,
            Path(recognizer) if recognizer else None,
            Path(charset) if charset else None,
            *names,
        )
