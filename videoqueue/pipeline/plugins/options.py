"""Numbers among the options of a plugin, such as thresholds."""

from __future__ import annotations

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugin import PluginOptions


def share_option(options: PluginOptions, name: str) -> float | None:
    """Returns a number from 0 to 1.

    Args:
        options: The options of all plugins.
        name: The name of the option, such as "yolo.confidence".

    Returns:
        The number; None if the option is not set.

    Raises:
        PipelineError: The option is no such number. The text names the setting behind it.
    """
    given = options.values.get(name)
    if not given:
        return None
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise PipelineError(f"{options.setting_name(name)} is {given!r}: it takes a number from 0 to 1.")
    return number


def whole_option(options: PluginOptions, name: str) -> int | None:
    """Returns a whole number of at least 1; as `share_option` otherwise."""
    given = options.values.get(name)
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and int(given)):
        raise PipelineError(
            f"{options.setting_name(name)} is {given!r}: it takes a whole number of at least 1."
        )
    return int(given)
