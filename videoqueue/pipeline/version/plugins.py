"""What a plugin's results depend on, besides the frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videoqueue.errors import TransientError
from videoqueue.pipeline.version.contents import Contents, Files, files_of_module, files_of_option
from videoqueue.pipeline.version.distributions import installed_versions


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: the module of its factory, and the distribution that brought it."""

    module: str | None = None
    distribution: str | None = None


class PluginVersion:
    """What a plugin is made from, hashed before it is made."""

    def __init__(self, name: str, origin: Origin, values: Mapping[str, str]) -> None:
        self._name = name
        self._distributions = installed_versions(*filter(None, [origin.distribution]))
        self._files = Contents.of(files_of_module(origin.module) if origin.module else {})
        # A plugin reads the options that begin with its own name.
        mine = {option: value for option, value in values.items() if option.startswith(f"{name}.")}
        self._options = {option: _contents(value) for option, value in mine.items()}

    def of_loaded(self, manifest_version: str) -> dict[str, Any]:
        """What decides the results of the plugin, now that it is loaded, as plain values.

        Raises:
            TransientError: a file was changed meanwhile, so that nobody knows what was loaded.
        """
        read = [self._files, *(found for found in self._options.values() if isinstance(found, Contents))]
        if not all(contents.is_current() for contents in read):
            raise TransientError(
                f"A file of plugin {self._name!r} was changed while the plugin was loaded. Try again; "
                "a plugin must not write into its own package."
            )
        return {
            "manifest": manifest_version,
            "distributions": self._distributions,
            "files": self._files.digests,
            "options": {
                option: found.digests if isinstance(found, Contents) else found
                for option, found in self._options.items()
            },
        }


def _contents(value: str) -> Contents | str:
    files: Files = files_of_option(value)
    return Contents.of(files) if files else value
