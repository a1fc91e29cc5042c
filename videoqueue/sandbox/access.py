"""What a child process may reach: named by the worker, enforced by the child itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from videoqueue.pipeline.version.contents import files_of_option
from videoqueue.pipeline_options import PipelineOptions

Mode = Literal["auto", "required", "off"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one child may reach; plain JSON, so that `asdict` carries it to the child.

    Attributes:
        mode, readable, hidden, newest_abi: as in `Access`; models are among `readable`.
        scratch: the only folder in which it may write; "" for none.
        inputs: the folder with the videos of its tasks, or the one video of a child that serves one task.
        network: whether it may open connections.
    """

    mode: Mode
    readable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    newest_abi: int | None = None
    scratch: str = ""
    inputs: tuple[str, ...] = ()
    network: bool = False


@dataclass(frozen=True, kw_only=True)
class Access:
    """What the children of a sandbox may reach; the settings hold the defaults.

    Attributes:
        mode: "auto" uses what the system offers, "required" needs Landlock and seccomp, "off" uses nothing.
        readable: files and folders that plugins may read, besides code, libraries and models.
        hidden: files and folders that stay closed, also inside a folder with code: the data of the service.
        network_pipelines: the pipelines with a plugin that gets the network.
        newest_abi: the newest version of Landlock to use, 0 for none; None for that of the kernel. Tests
            simulate older kernels with it.
    """

    mode: Mode = "auto"
    readable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    network_pipelines: frozenset[str] = frozenset()
    newest_abi: int | None = None

    def cell(self, options: PipelineOptions, scratch: str, inputs: tuple[str, ...], network: bool) -> Cell:
        """Returns what one child may reach; the models and pipelines of its options are among it."""
        folders = [options.pipelines_dir] if options.pipelines_dir else []
        values = options.plugin_values.values()
        models = [str(file) for value in values for file in files_of_option(value).values()]
        return Cell(
            mode=self.mode,
            readable=(*folders, *models, *self.readable),
            hidden=self.hidden,
            newest_abi=self.newest_abi,
            scratch=scratch,
            inputs=inputs,
            network=network,
        )


@dataclass(frozen=True, kw_only=True)
class Walls:
    """What confines a process; plain JSON.

    Attributes:
        landlock: the ABI in use; 0 for none.
        seccomp: whether the filter of system calls is in use.
        namespaces: the names of the namespaces of its own.
        missing: why Landlock or seccomp is not in use, for the operator.
    """

    landlock: int = 0
    seccomp: bool = False
    namespaces: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Returns the parts in one line, such as "Landlock ABI 7, seccomp, network and ipc namespaces"."""
        names = ", ".join(self.namespaces[:-1]) + " and " * (len(self.namespaces) > 1)
        return ", ".join(
            [
                f"Landlock ABI {self.landlock}" if self.landlock else "no Landlock",
                "seccomp" if self.seccomp else "no seccomp",
                f"{names}{self.namespaces[-1]} namespaces" if self.namespaces else "no namespaces",
            ]
        )


#: The walls of VIDEOQUEUE_SANDBOX=off.
NO_WALLS: Final = Walls()
