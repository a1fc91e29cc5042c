"""Checks models of the operator's own when the worker starts: otherwise, every job would fail.

    python -m videoqueue.launch videoqueue.worker.model_check OPTIONS PLUGIN...

OPTIONS is a JSON object with the fields of `PluginOptions`; the names of the plugins follow. The models are
loaded in that process, which then ends, so that the worker does not keep the memory of OpenVINO.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

from videoqueue import launch
from videoqueue.errors import PipelineError, SettingsError
from videoqueue.launch import child_environment
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.registry import PluginRegistry

#: For each option that names a model of the operator's own, the plugin that loads it.
_MODELS = {"yolo.model": "yolo", "ocr.recognizer": "ocr"}


def check_models(options: PluginOptions) -> None:
    """Loads the models of the operator's own, if there are any. It takes one or two seconds.

    Raises:
        SettingsError: A model cannot be used. The message has one line for each.
    """
    plugins = [plugin for option, plugin in _MODELS.items() if options.values.get(option)]
    if not plugins:
        return
    done = subprocess.run(
        launch.command(__name__, json.dumps(asdict(options)), *plugins, readable=True),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=child_environment(os.environ),
    )
    if done.returncode:
        raise SettingsError(done.stdout.strip() or done.stderr.strip().rpartition("\n")[2])


def main() -> None:
    """Prints a line for each plugin that cannot be loaded; the exit code is then 1."""
    options, *plugins = sys.argv[1:]
    registry = PluginRegistry(PluginOptions(**json.loads(options)))
    faults = []
    for plugin in plugins:
        try:
            registry.get(plugin)
        except PipelineError as error:
            faults.append(str(error))
    print(*faults, sep="\n")  # noqa: T201
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
