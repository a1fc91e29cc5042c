"""Tries a tool on frames: the outputs it promised, the same for the same frame, whatever else goes on."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from videoqueue.pipeline.conformance.frames import TrialFrame
from videoqueue.pipeline.conformance.values import KNOWN_TYPES, fingerprint, json_flaw
from videoqueue.pipeline.definitions.faults import Fault, listed
from videoqueue.pipeline.plugin import Plugin, Tool

# Threads meet by chance in a quick tool, so it is called for about this long, seconds, within bounds.
_RACE_SECONDS = 0.25
_MOST_ROUNDS = 1000
# How often Python changes threads meanwhile, seconds; its usual 5 ms are longer than many a call.
_SWITCH_SECONDS = 1e-5


@dataclass(frozen=True)
class Case:
    """One frame with the inputs that the tool gets for it."""

    frame: TrialFrame
    inputs: Mapping[str, Any]


class ToolTrial:
    """Collects the faults of one tool: each kind once, with the first frame on which it showed."""

    def __init__(self, where: str, plugin: Plugin, name: str, tool: Tool) -> None:
        self._where = where
        self._plugin = plugin
        self._name = name
        self._tool = tool
        self._told: dict[str, Fault] = {}

    def faults(self, cases: Sequence[Case]) -> list[Fault]:
        given: list[tuple[Case, Mapping[str, Any]]] = []
        answers: dict[str, str | None] = {}
        for case in cases:
            outputs = self._first(case)
            if outputs is not None:
                given.append((case, outputs))
                answers[case.frame.name] = fingerprint(outputs)
                self._compare([case], answers, "again")
        comparable = [case for case in cases if answers.get(case.frame.name) is not None]
        started = time.monotonic()
        self._compare(comparable[::-1], answers, "after other frames")
        rounds = int(_RACE_SECONDS / max(time.monotonic() - started, 1e-6))
        for case, outputs in given:
            if fingerprint(outputs) != answers[case.frame.name]:
                self._tell(case, "reused", "it changes outputs that it gave before. Give new ones each time.")
        # What one thread shows would only show again with two.
        if comparable and not self._told.keys() & {"repeated", "fails", "reused"}:
            self._race(comparable, answers, min(max(rounds, 1), _MOST_ROUNDS))
        return list(self._told.values())

    def _first(self, case: Case) -> Mapping[str, Any] | None:
        """Calls the tool, and checks all that one call can show; None if it gave no outputs."""
        inputs = deepcopy(dict(case.inputs))
        try:
            outputs = self._run(inputs)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - told to its author
            told = f"{type(error).__name__}: {error}"
            self._tell(case, "fails", f"it fails ({told}). Make it take every frame.")
            return None
        for key, value in case.inputs.items():
            if fingerprint(inputs.get(key)) != fingerprint(value):
                self._tell(case, "writes", f"it changes its input {key!r}, which others use. Change a copy.")
        if not isinstance(outputs, Mapping):
            self._tell(case, "outputs", f"it gives a {type(outputs).__name__}. Give a dict of its outputs.")
            return None
        promised = self._tool.outputs
        if set(outputs) != set(promised):
            both = f"it gives {listed(map(str, outputs))}, its manifest promises {listed(promised)}"
            self._tell(case, "outputs", f"{both}. Make them equal.")
        for key in promised:
            if key in outputs:
                self._check_value(case, key, outputs[key])
        return dict(outputs)

    def _check_value(self, case: Case, key: str, value: Any) -> None:
        type_name = self._tool.outputs[key]
        known = KNOWN_TYPES.get(type_name)
        flaw = known.flaw(value, case.frame.image) if known else None
        if flaw is None and type_name != "image":
            flaw = json_flaw(value)
        if flaw is not None:
            self._tell(case, f"output {key}", f"output {key!r} of type {type_name!r}: {flaw}")

    def _compare(self, cases: Sequence[Case], answers: Mapping[str, str | None], when: str) -> None:
        for case in cases:
            if _answer(self._outputs(deepcopy(dict(case.inputs)))) != answers[case.frame.name]:
                self._tell(
                    case,
                    "repeated",
                    f"called {when}, it gives other outputs for the same inputs. "
                    "They must depend on nothing but the inputs: keep no state, fix every seed.",
                )

    def _race(self, cases: Sequence[Case], answers: Mapping[str, str | None], rounds: int) -> None:
        both_ready = threading.Barrier(2)

        def run(order: Sequence[Case]) -> list[Case]:
            found: list[Case] = []
            for _ in range(rounds):
                # Nothing but the calls themselves happens between the barriers, so that they overlap.
                inputs = [deepcopy(dict(case.inputs)) for case in order]
                both_ready.wait()
                outputs = [self._outputs(given) for given in inputs]
                both_ready.wait()
                found += [
                    case
                    for case, given in zip(order, outputs, strict=True)
                    if _answer(given) != answers[case.frame.name]
                ]
            return found

        usual = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            with ThreadPoolExecutor(2) as threads:
                differing = [case for found in threads.map(run, (cases, cases[::-1])) for case in found]
        finally:
            sys.setswitchinterval(usual)
        for case in differing:
            self._tell(
                case,
                "threads",
                "called by two threads at once, it fails or gives other outputs than alone. "
                "Guard what they share with a lock.",
            )

    def _outputs(self, inputs: Mapping[str, Any]) -> object:
        """What the tool gives; None if it fails."""
        try:
            return self._run(inputs)
        except (Exception, SystemExit):  # noqa: BLE001 - differs from every answer, which is what counts here
            return None

    def _run(self, inputs: Mapping[str, Any]) -> object:
        return self._plugin.run_tool(self._name, inputs)

    def _tell(self, case: Case, kind: str, what: str) -> None:
        self._told.setdefault(kind, Fault(self._where, f"frame {case.frame.name!r}: {what}"))


def _answer(outputs: object) -> str | None:
    """The fingerprint of what a tool gives; None if it gives no outputs."""
    return fingerprint(dict(outputs)) if isinstance(outputs, Mapping) else None
