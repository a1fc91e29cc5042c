"""Rules on the contract with clients: endpoints, states, fields, items, and how fine progress is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from governance.rule import Findings, line_of, listed, named, place, rule
from governance.tree import Module, Tree, dotted

STATUS_FIELDS = {"job_id", "status", "progress", "created_at", "updated_at", "error_message"}
STATES = {"pending", "running", "completed", "failed"}
TENTHS = {step / 10 for step in range(11)}
ENDPOINTS = {
    ("/video/submit", ("POST",)),
    ("/video/status/<job_id>", ("GET",)),
    ("/video/results/<job_id>", ("GET",)),
}
ITEM_KEYS = {"frame_index", "result"}
#: Frames are counted where a client chooses them and where results are stored, nowhere else.
FRAME_COLUMNS = {
    "job": {"frame_stride", "max_frames", "damaged_frames"},
    "result_chunk": {"first_frame", "frame_count"},
}
#: Known while a job runs, told when it has ended.
TOLD_AT_THE_END = {"damaged_frames", "width", "height", "fps", "duration", "result_bytes"}
FRAME_FIELDS = {"frame_stride", "max_frames", "frame_index", "damaged_frames"}
#: The schemas of what is said about a running job.
SAID_BY = {"/video/status": "JobStatus", "/jobs": "JobSummary", "/jobs/{job_id}": "JobDescription"}
#: What may change about a running job between two tenths of its progress; another rule judges the progress.
CHANGES_WITHIN_A_TENTH = {"updated_at", "progress"}


@rule("status-fields", "a status has exactly its six fields")
def status_fields(tree: Tree) -> Findings:
    schema = tree.served["schemas"]["JobStatus"]
    for given in (set(schema["fields"]), set(tree.served["job"]["status"])):
        for name in sorted(given ^ STATUS_FIELDS):
            what = f"a status {'has' if name in given else 'lacks'} {name!r}"
            yield *place(schema), f"{what}. Its fields are {listed(STATUS_FIELDS)}."


@rule("frame-progress", "progress is in tenths, and nothing else counts the frames of a job")
def frame_progress(tree: Tree) -> Findings:
    remedy = "Progress is told in tenths, by progress alone."
    values = {*tree.served["steps"], tree.served["job"]["status"].get("progress")}
    if not values <= TENTHS:
        between = listed(values - TENTHS)
        yield *place(tree.served["schemas"]["JobStatus"]), f"progress becomes {between:.40}. {remedy}"
    for table, text in _frame_columns(tree):
        yield *place(table), f"{text}. {remedy}"
    for name, schema in tree.served["schemas"].items():
        if name != "JobStatus":
            for field in sorted(named("frame", schema["fields"]) - FRAME_FIELDS):
                yield *place(schema), f"{name} has the field {field!r}. {remedy}"
    for module in tree.folder("jobs"):
        for value in _values(module, "progress"):
            if not _is_tenths(value):
                yield module.file, value.lineno, f"progress is stored as it comes; use tenths(). {remedy}"


def _frame_columns(tree: Tree) -> Iterator[tuple[dict[str, Any], str]]:
    """Tables that count frames elsewhere than allowed, or while the job still runs."""
    for name, table in tree.served["tables"].items():
        for column in sorted(named("frame", table["columns"]) - FRAME_COLUMNS.get(name, set())):
            yield table, f"table {name} has the column {column!r}"
    for column in sorted(TOLD_AT_THE_END & set(tree.served["job"]["written_while_running"])):
        yield tree.served["tables"]["job"], f"{column} can be written before the job has ended"


@rule("running-job", "nothing about a running job is finer than its progress in tenths")
def running_job(tree: Tree) -> Findings:
    remedy = "Tell it when the job has ended."
    first, second = tree.served["job"]["running"]
    for where, before in first.items():
        after = second[where]
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        for name in sorted(changed - CHANGES_WITHIN_A_TENTH):
            schema = tree.served["schemas"][SAID_BY[where]]
            yield *place(schema), f"{name!r} in {where} changes within a tenth of the job. {remedy}"


@rule("running-metrics", "no metric changes while a job runs: it is counted when it ends")
def running_metrics(tree: Tree) -> Findings:
    remedy = "Count it in the transaction that ends the job."
    file = "videoqueue/api/metrics.py"
    first, *later = tree.served["job"]["metrics"]
    changed = {name for after in later for name in {*first, *after} if first.get(name) != after.get(name)}
    for name in sorted(changed):
        yield file, line_of(tree, file, "metrics"), f"{name} changes while a job runs. {remedy}"


@rule("job-states", "a job has exactly four states: pending, running, completed, failed")
def job_states(tree: Tree) -> Findings:
    remedy = "Keep to the four; what else there is to tell goes into other columns."
    for module in tree.folder("jobs"):
        for node in module.nodes(ast.AnnAssign, ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if {dotted(target) for target in targets} & {"Status", "STATUSES"} and node.value:
                given = {text.value for text in ast.walk(node.value) if isinstance(text, ast.Constant)}
                if given and given != STATES:  # none when it is derived from the other
                    yield module.file, node.lineno, f"the states are {listed(given)}. {remedy}"
    table = tree.served["tables"]["job"]
    allowed = [set(re.findall(r"'(\w+)'", text)) for text in table["checks"] if text.startswith("status IN")]
    if allowed != [STATES]:
        states = " and ".join(map(listed, allowed)) or "any state"
        yield *place(table), f"the database allows {states}. {remedy}"


@rule("video-endpoints", "the blueprint `video`, and everything below /video, is exactly three endpoints")
def video_endpoints(tree: Tree) -> Findings:
    remedy = "Its endpoints are POST submit, GET status, GET results; others belong outside /video."
    served = set()
    for route in tree.served["routes"]:
        if route["blueprint"] == "video" or re.match(r"/video\b", route["path"]):
            endpoint = (route["path"], tuple(route["methods"]))
            served.add(endpoint)
            if endpoint not in ENDPOINTS or route["blueprint"] != "video":
                yield *place(route), f"{' '.join(route['methods'])} {route['path']} is one more. {remedy}"
    for path, methods in sorted(ENDPOINTS - served):
        yield "videoqueue/api/video.py", 1, f"{' '.join(methods)} {path} is missing. {remedy}"


@rule("result-item", "an item of the results has exactly the keys frame_index and result")
def result_item(tree: Tree) -> Findings:
    remedy = "An item is {frame_index, result}; what is new about a frame goes into result."
    for item in tree.served["job"]["items"]:
        if set(item) != ITEM_KEYS:
            yield "videoqueue/pipeline/service.py", 1, f"an item was served with {listed(item)}. {remedy}"
    for name, schema in tree.served["schemas"].items():
        if "frame_index" in schema["fields"] and set(schema["fields"]) != ITEM_KEYS:
            yield *place(schema), f"{name} has {listed(schema['fields'])}. {remedy}"
    for module in tree.modules:
        for node in module.nodes(ast.Dict):
            keys = {key.value if isinstance(key, ast.Constant) else "**" for key in node.keys}
            if "frame_index" in keys and keys != ITEM_KEYS:
                yield module.file, node.lineno, f"an item is made with {listed(keys)}. {remedy}"


def _values(module: Module, name: str) -> Iterator[ast.expr]:
    """What is written under this name: in dictionaries and as keyword arguments of `values`."""
    for node in module.nodes(ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == name:
                yield value
    for call in module.calls():
        if call.name.endswith("values"):
            yield from (keyword.value for keyword in call.node.keywords if keyword.arg == name)


def _is_tenths(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return value.value in TENTHS
    return isinstance(value, ast.Call) and dotted(value.func).split(".")[-1] == "tenths"
