"""Tries a tool on frames: it must return its declared outputs, and always the same for the same frame."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass

from videoqueue.pipeline.conformance.frames import TrialFrame
from videoqueue.pipeline.conformance.known_types import KNOWN_TYPES, fingerprint, json_fault
from videoqueue.pipeline.definitions.faults import Fault, listed
from videoqueue.pipeline.plugin import Plugin, Tool

# Threads overlap by chance in a quick tool. So it is called for about this many seconds, in limited rounds.
_RACE_SECONDS = 0.25
_MAX_ROUNDS = 1000
# How often Python switches threads meanwhile, in seconds. Many calls are shorter than its default of 5 ms.
_SWITCH_SECONDS = 1e-5


@dataclass(frozen=True)
class Case:
    """A frame with the inputs of the tool for it."""

    frame: TrialFrame
    inputs: Mapping[str, object]


class ToolTrial:
    """Collects the faults of one tool: each kind once, with the first frame that shows it."""

    def __init__(self, where: str, plugin: Plugin, name: str, tool: Tool) -> None:
        self._where = where
        self._plugin = plugin
        self._name = name
        self._tool = tool
        self._found: dict[str, Fault] = {}

    def faults(self, cases: Sequence[Case]) -> list[Fault]:
        """Calls the tool on the cases, several times and from two threads. Returns its faults."""
        returned: list[tuple[Case, Mapping[str, object]]] = []
        expected: dict[str, str | None] = {}
        for case in cases:
            outputs = self._first(case)
            if outputs is not None:
                returned.append((case, outputs))
                expected[case.frame.name] = fingerprint(outputs)
                self._compare([case], expected, "again")
        comparable = [case for case in cases if expected.get(case.frame.name) is not None]
        started = time.monotonic()
        self._compare(comparable[::-1], expected, "after other frames")
        rounds = int(_RACE_SECONDS / max(time.monotonic() - started, 1e-6))
        for case, outputs in returned:
            if fingerprint(outputs) != expected[case.frame.name]:
                self._report(
                    case, "reused", "it changes outputs that it returned before. Return new ones each time."
                )
        # A fault that one thread shows would appear again with two.
        if comparable and not self._found.keys() & {"repeated", "fails", "reused"}:
            self._race(comparable, expected, min(max(rounds, 1), _MAX_ROUNDS))
        return list(self._found.values())

    def _first(self, case: Case) -> Mapping[str, object] | None:
        """Calls the tool once and checks the outputs. Returns None if there are none."""
        inputs = deepcopy(dict(case.inputs))
        try:
            outputs = self._run(inputs)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - reported to its author
            reason = f"{type(error).__name__}: {error}"
            self._report(case, "fails", f"it fails ({reason}). Make it take every frame.")
            return None
        for key, value in case.inputs.items():
            if fingerprint(inputs.get(key)) != fingerprint(value):
                self._report(
                    case, "writes", f"it changes its input {key!r}, which others use. Change a copy."
                )
        if not isinstance(outputs, Mapping):
            self._report(
                case, "outputs", f"it returns a {type(outputs).__name__}. Return a dict of its outputs."
            )
            return None
        declared = self._tool.outputs
        if set(outputs) != set(declared):
            both = f"it returns {listed(map(str, outputs))}, its manifest declares {listed(declared)}"
            self._report(case, "outputs", f"{both}. Make them equal.")
        for key in declared:
            if key in outputs:
                self._check_value(case, key, outputs[key])
        return dict(outputs)

    def _check_value(self, case: Case, key: str, value: object) -> None:
        type_name = self._tool.outputs[key]
        known = KNOWN_TYPES.get(type_name)
        fault = known.fault(value, case.frame.image) if known else None
        if fault is None and type_name != "image":
            fault = json_fault(value)
        if fault is not None:
            self._report(case, f"output {key}", f"output {key!r} of type {type_name!r}: {fault}")

    def _compare(self, cases: Sequence[Case], expected: Mapping[str, str | None], when: str) -> None:
        for case in cases:
            if _fingerprint(self._outputs(deepcopy(dict(case.inputs)))) != expected[case.frame.name]:
                self._report(
                    case,
                    "repeated",
                    f"called {when}, it returns other outputs for the same inputs. "
                    "They must depend on nothing but the inputs: keep no state, fix every seed.",
                )

    def _race(self, cases: Sequence[Case], expected: Mapping[str, str | None], rounds: int) -> None:
        both_ready = threading.Barrier(2)

        def run(order: Sequence[Case]) -> list[Case]:
            found: list[Case] = []
            for _ in range(rounds):
                # Only the calls are between the barriers, so that they overlap.
                inputs = [deepcopy(dict(case.inputs)) for case in order]
                both_ready.wait()
                outputs = [self._outputs(values) for values in inputs]
                both_ready.wait()
                found += [
                    case
                    for case, values in zip(order, outputs, strict=True)
                    if _fingerprint(values) != expected[case.frame.name]
                ]
            return found

        interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            with ThreadPoolExecutor(2) as threads:
                differing = [case for found in threads.map(run, (cases, cases[::-1])) for case in found]
        finally:
            sys.setswitchinterval(interval)
        for case in differing:
            self._report(
                case,
                "threads",
                "called by two threads at once, it fails or returns other outputs than alone. "
                "Protect what they share with a lock.",
            )

    def _outputs(self, inputs: Mapping[str, object]) -> object:
        """Returns what the tool returns; None if it fails."""
        try:
            return self._run(inputs)
        except (Exception, SystemExit):  # noqa: BLE001 - None differs from all outputs, and only that matters
            return None

    def _run(self, inputs: Mapping[str, object]) -> object:
        return self._plugin.run_tool(self._name, inputs)

    def _report(self, case: Case, kind: str, what: str) -> None:
        self._found.setdefault(kind, Fault(self._where, f"frame {case.frame.name!r}: {what}"))


def _fingerprint(outputs: object) -> str | None:
    """Returns the fingerprint of a tool's outputs; None if it returned none."""
    return fingerprint(dict(outputs)) if isinstance(outputs, Mapping) else None
