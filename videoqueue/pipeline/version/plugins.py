"""Everything that a plugin's results depend on besides the frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from videoqueue.errors import TransientError
from videoqueue.pipeline.version.contents import Contents, Files, files_of_module, files_of_option
from videoqueue.pipeline.version.distributions import installed_versions


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: the module of its factory, and the distribution that installed it."""

    module: str | None = None
    distribution: str | None = None


class LoadedVersion(TypedDict):
    """Everything that determines the results of a loaded plugin, as plain JSON.

    `manifest` is the version in the manifest; `distributions` has the version of each; `files` has the
    SHA-256 of each file of the package; `options` has values, or the SHA-256 of each file that one names.
    """

    manifest: str
    distributions: Mapping[str, str | None]
    files: Mapping[str, str | None]
    options: Mapping[str, str | Mapping[str, str | None]]


class PluginVersion:
    """The files, distributions and options of a plugin, hashed before it is created."""

    def __init__(self, name: str, origin: Origin, values: Mapping[str, str]) -> None:
        self._name = name
        self._distributions = installed_versions(*filter(None, [origin.distribution]))
        self._files = Contents.of(files_of_module(origin.module) if origin.module else {})
        # A plugin reads the options that begin with its own name.
        own = {option: value for option, value in values.items() if option.startswith(f"{name}.")}
        self._options = {option: _contents(value) for option, value in own.items()}

    def of_loaded(self, manifest_version: str) -> LoadedVersion:
        """Returns what determines the results of the plugin, after it was loaded.

        Args:
            manifest_version: The version in the manifest of the loaded plugin.

        Raises:
            TransientError: A file was changed meanwhile, so it is unknown which content was loaded.
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
    """Returns the files that an option names, or else its value."""
    files: Files = files_of_option(value)
    return Contents.of(files) if files else value
