"""docs/PHASE_16_DEFINITION_OF_DONE.md has every box of the specification, ticked, with proofs that exist."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "PHASE_16_DEFINITION_OF_DONE.md").read_text()

#: The specification's headings and boxes, word for word and in its order.
SPECIFICATION = """
# 1. Functional Requirements
# 1.1 Job Submission
`POST /video/submit` accepts MP4 files
Validates file format
Stores MP4 in object storage
Creates job record in database
Enqueues job_id
Returns `{job_id}` to client
# 1.2 Job Status
`GET /video/status/{job_id}` returns job status
Status values: `pending`, `running`, `completed`, `failed`
Returns progress (optional)
Returns 404 if job not found
# 1.3 Job Results
`GET /video/results/{job_id}` returns results if completed
Returns 404 if job not completed
Results match Phase 15 output format
# 1.4 Worker Processing
Worker pulls job_id from queue
Worker loads job metadata from database
Worker downloads MP4 from object storage
Worker runs VideoFilePipelineService (Phase 15)
Worker stores results in database
Worker updates job status to completed
Worker handles errors gracefully
# 2. Non-Functional Requirements
# 2.1 Asynchronous
Client receives job_id immediately
Processing happens in background
No blocking on long-running jobs
# 2.2 Persistent
Job state stored in database
Survives server restarts
Results available after completion
# 2.3 Fault-Tolerant
Worker crashes don't lose jobs
Jobs can be retried
Failed jobs have error messages
# 2.4 Scalable
Multiple workers can run concurrently
Queue can handle backlog
Database can scale independently
# 3. Testing Requirements
# 3.1 Unit Tests
Job model tests
Queue adapter tests
Worker logic tests (mocking pipeline service)
Status endpoint tests
Results endpoint tests
# 3.2 Integration Tests
Submit job → job row created
Worker processes job → results stored
Status transitions: pending → running → completed
Failed job behavior
# 3.3 System Tests
Full end-to-end job lifecycle
Queue + DB + worker + API integration
# 3.4 Smoke Test
Smoke test script passes
# 4. Documentation Requirements
`PHASE_16_OVERVIEW.md` exists
`PHASE_16_ARCHITECTURE.md` exists
`PHASE_16_SCOPE.md` exists
`PHASE_16_ENDPOINTS.md` exists
`PHASE_16_WORKER_LIFECYCLE.md` exists
`PHASE_16_TEST_STRATEGY.md` exists
`PHASE_16_GOVERNANCE_RULES.md` exists
`PHASE_16_DEFINITION_OF_DONE.md` exists
# 5. CI Requirements
Phase 16 GitHub Actions workflow passing
Full test suite passing
Pipeline validator passing
Plugin validator passing
# 6. Governance Requirements
No frame-level progress reporting
No real-time streaming
No WebSockets
No GPU scheduling
No distributed workers
No multi-pipeline DAG orchestration
# 7. Rollback Requirements
Rollback plan documented
Lists exact files to remove
Lists exact modifications to revert
"""


def specified() -> list[str]:
    return SPECIFICATION.strip().splitlines()


def written() -> list[str]:
    """The page's numbered headings and ticked boxes, as the specification has them here."""
    found = re.findall(r"^(?:#{2,3} (\d.*)|- \[x\] (.*))$", PAGE, re.MULTILINE)
    return [f"# {heading}" if heading else box for heading, box in found]


def proofs() -> list[tuple[str, str]]:
    """Each box of the page with each of its proofs; with an empty one where there is none."""
    pairs = []
    for box, below in re.findall(r"^- \[.\] (.*)\n((?:  - .*\n)*)", PAGE, re.MULTILINE):
        pairs += [(box, proof) for proof in re.findall(r"^  - `(.*)`$", below, re.MULTILINE) or [""]]
    return pairs


def test_every_box_of_the_specification_is_there_and_ticked() -> None:
    assert written() == specified()


def test_a_box_has_nothing_below_it_but_proofs() -> None:
    lines = re.findall(r"^ +- .*$", PAGE, re.MULTILINE)
    assert [line for line in lines if not re.fullmatch(r"  - `[^`]+`", line)] == []
    assert len(lines) == len(proofs())


@pytest.mark.parametrize(("box", "proof"), proofs())
def test_every_box_has_proofs_that_exist(box: str, proof: str) -> None:
    assert proof, f"{box!r} has no proof"
    name, separator, function = proof.partition("::")
    file = ROOT / name.split()[0]
    assert file.is_file(), f"{name} is not there"
    if separator:
        assert function in collected_from(file), f"{name} has no such test"
    elif name.startswith("./") or name == ".ci/run":
        assert os.access(file, os.X_OK), f"{name} cannot be run"
    elif file.name.startswith("test_"):
        assert collected_from(file), f"{name} has no test"


def collected_from(file: Path) -> set[str]:
    """What pytest collects there and runs: a test that is skipped or expected to fail proves nothing."""
    functions = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
    return {
        node.name
        for node in functions
        if node.name.startswith("test_")
        and not any(re.search(r"skip|xfail", ast.unparse(mark)) for mark in node.decorator_list)
    }
