"""What must not come into this service: all rules, and what breaks them.

A rule looks at what the code does: what it imports, requires and calls (the syntax tree), and what the built
application has and answers (`tree.served`). Words in comments, docstrings and documents are free. To change
what is allowed, change the rule's module, together with docs/PHASE_16_GOVERNANCE_RULES.md and its test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from governance import contract, libraries, workers
from governance.rule import Rule
from governance.tree import ProbeError, Tree

_ALL: Final = (
    libraries.streaming_library,
    libraries.streaming_route,
    contract.status_fields,
    contract.frame_progress,
    contract.running_job,
    contract.running_metrics,
    workers.queue_payload,
    contract.job_states,
    contract.video_endpoints,
    contract.result_item,
    libraries.gpu,
    workers.worker_channel,
    workers.one_queue,
    workers.one_pipeline,
)
RULES: Final[dict[str, Rule]] = {rule.name: rule for rule in _ALL}


@dataclass(frozen=True)
class Fault:
    """One line: where, which rule, what was found, what to do."""

    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.text}"


def check(tree: Tree) -> list[Fault]:
    """Every breach of every rule."""
    faults: list[Fault] = []
    try:
        for one in RULES.values():
            faults += sorted(
                {Fault(file, line, one.name, text) for file, line, text in one.look(tree)}, key=str
            )
    except ProbeError as error:
        remedy = "Mend it first: the rules are judged by what it serves."
        faults.append(
            Fault("videoqueue/app.py", 1, "application", f"it cannot be built and tried ({error}). {remedy}")
        )
    return faults
