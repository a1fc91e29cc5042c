"""What must not come into this service, one function for each rule.

A rule looks at what the code does: what it imports, requires and calls (the syntax tree), and what the built
application has and answers (`tree.served`). Words in comments, docstrings and documents are free. To change
what is allowed, change it here, together with docs/PHASE_16_GOVERNANCE_RULES.md and its test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from governance.tree import Found, Module, ProbeError, Tree, dotted

# Names as they are imported; of packages, as they are required. A name covers everything below it.
STREAMING_MODULES = (
    "aiohttp_sse", "aiortc", "async_sse", "autobahn", "cent", "centrifuge", "channels",
    "daphne", "engineio", "eventsource", "flask_sock", "flask_socketio", "flask_sockets", "flask_sse",
    "geventwebsocket", "paho", "pusher", "pushpin", "simple_websocket", "socketio", "sockjs",
    "sse_starlette", "sseclient", "starlette.websockets", "tornado.websocket", "websocket", "websockets",
    "wsaccel", "wsproto",
)  # fmt: skip
STREAMING_PACKAGES = (
    "ably", "aiohttp-sse", "aiortc", "autobahn", "cent", "centrifuge-python", "channels", "daphne",
    "flask-sock", "flask-socketio", "flask-sockets", "flask-sse", "gevent-websocket", "paho-mqtt",
    "pusher", "pushpin", "python-engineio", "python-socketio", "simple-websocket", "sockjs",
    "sse-starlette", "sseclient", "websocket-client", "websockets", "wsproto",
)  # fmt: skip
STREAMING_TEXTS = (
    r"text/event-stream|multipart/x-mixed-replace|Sec-WebSocket|^websocket$|\bgeventwebsocket\b|^wss?://"
)

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

# Some of these also run on a CPU, but what their packages install by default is made for CUDA.
GPU_MODULES = (
    "cuda", "cudf", "cupy", "jax", "numba.cuda", "nvidia", "pycuda", "pynvml", "pyopencl", "tensorflow",
    "tensorrt", "torch", "triton",
)  # fmt: skip
GPU_PACKAGES = (
    "cupy", "jax", "nvidia", "onnxruntime-directml", "onnxruntime-gpu", "pycuda", "pynvml", "pyopencl",
    "tensorflow", "tensorrt", "torch", "triton",
)  # fmt: skip
GPU_TEXTS = (
    r"^(GPU|NPU|CUDA|XPU|ROCM|MPS)([.:]\d+)?$|^(AUTO|MULTI|HETERO|BATCH):|(CUDA|Tensorrt|ROCM|Dml)ExecutionProvider"
    r"|_VISIBLE_DEVICES$"
)
GPU_SETTINGS = r"(^|_)(GPU|NPU|DEVICE)S?(_|$)|CUDA|TENSORRT|HWACCEL"

CHANNEL_MODULES = (
    "aio_pika", "asyncio.start_server", "celery", "confluent_kafka", "dask", "distributed", "execnet",
    "grpc", "http.server", "huey", "kafka", "kazoo", "kombu", "mpi4py", "multiprocessing.connection",
    "multiprocessing.managers", "nats", "pika", "Pyro5", "ray", "rpyc", "rq", "socketserver", "wsgiref",
    "xmlrpc", "zmq",
)  # fmt: skip
CHANNEL_PACKAGES = (
    "aio-pika", "celery", "confluent-kafka", "dask", "distributed", "execnet", "grpcio", "huey",
    "kafka-python", "kazoo", "kombu", "mpi4py", "nats-py", "pika", "pyro5", "pyzmq", "ray", "rpyc", "rq",
)  # fmt: skip
#: Methods of a Redis client by which one process tells another something, besides the queue.
CHANNEL_CALLS = {
    "publish",
    "pubsub",
    "subscribe",
    "psubscribe",
    "xadd",
    "xread",
    "xreadgroup",
    "blpop",
    "brpop",
}
LISTENING_CALLS = {"listen", "create_server", "start_server", "start_unix_server"}
CHANNEL_TEXTS = r"^\s*(LISTEN|NOTIFY)\s+\w|\bpg_notify\b"

#: The one pipeline of a job, and under which version of it the results were made.
PIPELINE_COLUMNS = {"pipeline_id", "pipeline_version"}
#: Fields of responses besides `pipeline_id`: the version of the one, and the list of all that there are.
PIPELINE_FIELDS = {("JobDescription", "pipeline_version"): "String", ("PipelineList", "pipelines"): "List"}
SEVERAL = r"pipeline_?ids|depends_on|parent_job(_id)?|next_jobs?"

COMPOSITIONS = (
    "dramatiq.group",
    "dramatiq.pipeline",
    "dramatiq.composition",
    "dramatiq.middleware.Pipelines",
)


@dataclass(frozen=True)
class Fault:
    """One line: where, which rule, what was found, what to do."""

    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.text}"


@dataclass(frozen=True)
class Rule:
    name: str
    promise: str
    look: Callable[[Tree], Iterator[tuple[str, int, str]]]


RULES: dict[str, Rule] = {}


def rule(name: str, promise: str) -> Callable[[Callable[[Tree], Iterator[tuple[str, int, str]]]], None]:
    def add(look: Callable[[Tree], Iterator[tuple[str, int, str]]]) -> None:
        RULES[name] = Rule(name, promise, look)

    return add


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


@rule("streaming-library", "no WebSocket, SSE or streaming-push library is imported or required")
def _streaming_library(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "Remove it; clients poll /video/status."
    yield from _forbidden(tree, STREAMING_MODULES, STREAMING_PACKAGES, remedy)


@rule("streaming-route", "no route, media type or header of a stream or WebSocket")
def _streaming_route(tree: Tree) -> Iterator[tuple[str, int, str]]:
    for route in tree.served["routes"]:
        if route["websocket"]:
            yield *_place(route), f"{route['path']} is a WebSocket. Remove it; clients poll /video/status."
    for found in _texts(tree, STREAMING_TEXTS):
        yield (
            found.file,
            found.line,
            f"{found.name!r} belongs to a stream. Remove it; clients poll /video/status.",
        )


@rule("status-fields", "a status has exactly its six fields")
def _status_fields(tree: Tree) -> Iterator[tuple[str, int, str]]:
    schema = tree.served["schemas"]["JobStatus"]
    for given in (set(schema["fields"]), set(tree.served["job"]["status"])):
        for name in sorted(given ^ STATUS_FIELDS):
            what = f"a status {'has' if name in given else 'lacks'} {name!r}"
            yield *_place(schema), f"{what}. Its fields are {_listed(STATUS_FIELDS)}."


@rule("frame-progress", "progress is in tenths, and nothing else counts the frames of a job")
def _frame_progress(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "Progress is told in tenths, by progress alone."
    values = {*tree.served["steps"], tree.served["job"]["status"].get("progress")}
    if not values <= TENTHS:
        between = _listed(values - TENTHS)
        yield *_place(tree.served["schemas"]["JobStatus"]), f"progress becomes {between:.40}. {remedy}"
    for table, text in _frame_columns(tree):
        yield *_place(table), f"{text}. {remedy}"
    for name, schema in tree.served["schemas"].items():
        if name != "JobStatus":
            for field in sorted(_named("frame", schema["fields"]) - FRAME_FIELDS):
                yield *_place(schema), f"{name} has the field {field!r}. {remedy}"
    for module in tree.folder("jobs"):
        for value in _values(module, "progress"):
            if not _is_tenths(value):
                yield module.file, value.lineno, f"progress is stored as it comes; use tenths(). {remedy}"


def _frame_columns(tree: Tree) -> Iterator[tuple[dict[str, Any], str]]:
    """Tables that count frames elsewhere than allowed, or while the job still runs."""
    for name, table in tree.served["tables"].items():
        for column in sorted(_named("frame", table["columns"]) - FRAME_COLUMNS.get(name, set())):
            yield table, f"table {name} has the column {column!r}"
    for column in sorted(TOLD_AT_THE_END & set(tree.served["job"]["written_while_running"])):
        yield tree.served["tables"]["job"], f"{column} can be written before the job has ended"


@rule("running-job", "nothing about a running job is finer than its progress in tenths")
def _running_job(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "Tell it when the job has ended."
    first, second = tree.served["job"]["running"]
    for where, before in first.items():
        after = second[where]
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        for name in sorted(changed - CHANGES_WITHIN_A_TENTH):
            place = _place(tree.served["schemas"][SAID_BY[where]])
            yield *place, f"{name!r} in {where} changes within a tenth of the job. {remedy}"


@rule("running-metrics", "no metric changes while a job runs: it is counted when it ends")
def _running_metrics(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "Count it in the transaction that ends the job."
    file = "videoqueue/api/metrics.py"
    first, *later = tree.served["job"]["metrics"]
    changed = {name for after in later for name in {*first, *after} if first.get(name) != after.get(name)}
    for name in sorted(changed):
        yield file, _def(tree, file, "metrics"), f"{name} changes while a job runs. {remedy}"


@rule("queue-payload", "a message on the queue is {job_id} and nothing else")
def _queue_payload(tree: Tree) -> Iterator[tuple[str, int, str]]:
    job, remedy = tree.served["job"], "The job's row has everything else: send the job_id alone, once."
    if job["messages"] != [{"args": [], "kwargs": {"job_id": job["job_id"]}}]:
        yield (
            "videoqueue/broker.py",
            _def(tree, "videoqueue/broker.py", "announce"),
            f"submitting announced {job['messages']}. {remedy}",
        )
    for name, parameters in tree.served["queue"]["actors"].items():
        if parameters != ["job_id"]:
            file = "videoqueue/worker/actors.py"
            yield (
                file,
                _def(tree, file, name),
                f"actor {name} takes {', '.join(parameters) or 'nothing'}. {remedy}",
            )


@rule("job-states", "a job has exactly four states: pending, running, completed, failed")
def _job_states(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "Keep to the four; what else there is to tell goes into other columns."
    for module in tree.folder("jobs"):
        for node in module.nodes(ast.AnnAssign, ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if {dotted(target) for target in targets} & {"Status", "STATUSES"} and node.value:
                given = {text.value for text in ast.walk(node.value) if isinstance(text, ast.Constant)}
                if given and given != STATES:  # none when it is derived from the other
                    yield module.file, node.lineno, f"the states are {_listed(given)}. {remedy}"
    table = tree.served["tables"]["job"]
    allowed = [set(re.findall(r"'(\w+)'", text)) for text in table["checks"] if text.startswith("status IN")]
    if allowed != [STATES]:
        named = " and ".join(map(_listed, allowed)) or "any state"
        yield *_place(table), f"the database allows {named}. {remedy}"


@rule("video-endpoints", "the blueprint `video`, and everything below /video, is exactly three endpoints")
def _video_endpoints(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "Its endpoints are POST submit, GET status, GET results; others belong outside /video."
    served = set()
    for route in tree.served["routes"]:
        if route["blueprint"] == "video" or re.match(r"/video\b", route["path"]):
            endpoint = (route["path"], tuple(route["methods"]))
            served.add(endpoint)
            if endpoint not in ENDPOINTS or route["blueprint"] != "video":
                yield *_place(route), f"{' '.join(route['methods'])} {route['path']} is one more. {remedy}"
    for path, methods in sorted(ENDPOINTS - served):
        yield "videoqueue/api/video.py", 1, f"{' '.join(methods)} {path} is missing. {remedy}"


@rule("result-item", "an item of the results has exactly the keys frame_index and result")
def _result_item(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "An item is {frame_index, result}; what is new about a frame goes into result."
    for item in tree.served["job"]["items"]:
        if set(item) != ITEM_KEYS:
            yield "videoqueue/pipeline/service.py", 1, f"an item was served with {_listed(item)}. {remedy}"
    for name, schema in tree.served["schemas"].items():
        if "frame_index" in schema["fields"] and set(schema["fields"]) != ITEM_KEYS:
            yield *_place(schema), f"{name} has {_listed(schema['fields'])}. {remedy}"
    for module in tree.modules:
        for node in module.nodes(ast.Dict):
            keys = {key.value if isinstance(key, ast.Constant) else "**" for key in node.keys}
            if "frame_index" in keys and keys != ITEM_KEYS:
                yield module.file, node.lineno, f"an item is made with {_listed(keys)}. {remedy}"


@rule("gpu", "no GPU: no library, setting or device other than the CPU")
def _gpu(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "Inference runs on the CPU."
    yield from _forbidden(tree, GPU_MODULES, GPU_PACKAGES, remedy)
    for found in _texts(tree, GPU_TEXTS):
        yield found.file, found.line, f"{found.name!r} names a device. {remedy}"
    for name, where in tree.served["settings"].items():
        if re.search(GPU_SETTINGS, name):
            yield *_place(where), f"{name} chooses a device. {remedy}"
    for module in tree.modules:
        for call in module.calls():
            parts = call.name.split(".")
            keywords = {keyword.arg: keyword.value for keyword in call.node.keywords}
            if parts[-1] == "compile_model":
                device = keywords.get("device_name", next(iter(call.node.args[1:2]), None))
                if not (isinstance(device, ast.Constant) and device.value == "CPU"):
                    yield call.file, call.line, f'compile_model may take any device. Pass "CPU". {remedy}'
            if "cuda" in parts or "hwaccel" in keywords or parts[-1] == "HWAccel":
                yield call.file, call.line, f"{call.name} computes on a GPU. {remedy}"


@rule(
    "worker-channel",
    "workers speak to no other worker: no socket of their own, no publish and subscribe, no cluster",
)
def _worker_channel(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "Workers meet in the database alone."
    yield from _forbidden(tree, CHANNEL_MODULES, CHANNEL_PACKAGES, remedy)
    for module in tree.modules:
        for call in module.calls():
            last = call.name.split(".")[-1]
            # SQLAlchemy's event.listen() listens to the program itself.
            if last in CHANNEL_CALLS | LISTENING_CALLS and not call.name.endswith("event.listen"):
                yield call.file, call.line, f"{call.name}() opens a channel. {remedy}"
    for module in tree.folder("worker", "sandbox", "maintenance", "jobs", "pipeline"):
        for call in module.calls():
            if call.name in ("socket.socket", "socket.socketpair", "socket.create_connection"):
                yield call.file, call.line, f"{call.name}() opens a channel. {remedy}"
    for found in _texts(tree, CHANNEL_TEXTS):
        yield found.file, found.line, f"{found.name.strip()!r} opens a channel. {remedy}"


@rule("one-queue", "one queue with one actor, and `announce` is all that puts a message on it")
def _one_queue(tree: Tree) -> Iterator[tuple[str, int, str]]:
    broker, remedy = "videoqueue/broker.py", "There is one queue, and announce() alone fills it."
    queue = tree.served["queue"]
    if len(queue["queues"]) != 1:
        yield (
            broker,
            _def(tree, broker, "build_broker"),
            f"the queues are {_listed(queue['queues'])}. {remedy}",
        )
    if len(queue["actors"]) != 1:
        file = "videoqueue/worker/actors.py"
        yield file, _def(tree, file, "declare"), f"the actors are {_listed(queue['actors'])}. {remedy}"
    for module in tree.modules:
        for found in module.imports():
            if _covers(COMPOSITIONS, found.name):
                yield found.file, found.line, f"{found.name} chains messages. {remedy}"
        for call in module.calls():
            last = call.name.split(".")[-1]
            by_announce = module.file == broker and module.within("announce", call.node)
            sends = last in ("enqueue", "send_with_options") or call.name in [
                f"{name}.send" for name in queue["actors"]
            ]
            if sends and not by_announce:
                yield call.file, call.line, f"{call.name}() puts a message on the queue. {remedy}"
            if last in ("declare_queue", "declare_actor") and module.file != broker:
                yield call.file, call.line, f"{call.name}() makes one more. {remedy}"


@rule("one-pipeline", "a job has one pipeline, and no job depends on another")
def _one_pipeline(tree: Tree) -> Iterator[tuple[str, int, str]]:
    remedy = "A job names one pipeline, as a text; clients submit a video once for each pipeline."
    for name, table in tree.served["tables"].items():
        columns = _named("pipeline", table["columns"])
        if columns != (PIPELINE_COLUMNS if name == "job" else set()):
            yield *_place(table), f"table {name} has {_listed(columns) or 'no pipeline'}. {remedy}"
        if name != "result_chunk" and table["refers_to"]:
            yield *_place(table), f"table {name} refers to {_listed(table['refers_to'])}. {remedy}"
    kind = tree.served["tables"]["job"]["columns"].get("pipeline_id", "")
    if not kind.startswith("VARCHAR"):
        yield *_place(tree.served["tables"]["job"]), f"pipeline_id is {kind or 'missing'}. {remedy}"
    for name, schema in tree.served["schemas"].items():
        for field in sorted(_named("pipeline", schema["fields"])):
            kind = "String" if field == "pipeline_id" else PIPELINE_FIELDS.get((name, field))
            if kind not in schema["fields"][field]:
                yield (
                    *_place(schema),
                    f"{name} has the field {field!r}, which is not one pipeline's name. {remedy}",
                )
    for module in tree.folder("api", "server", "jobs", "worker", "sandbox", "maintenance", "pipeline"):
        for name, line in _several_pipelines(module):
            yield module.file, line, f"{name} holds more than one pipeline or job. {remedy}"


def _several_pipelines(module: Module) -> Iterator[tuple[str, int]]:
    """Parameters and attributes, by name and line, for more pipelines or jobs than one."""
    for node in module.nodes(ast.arg, ast.AnnAssign):
        name = node.arg if isinstance(node, ast.arg) else dotted(node.target)
        kind = ast.unparse(node.annotation) if node.annotation else "str"
        if re.fullmatch(SEVERAL, name) or (name == "pipeline_id" and not re.match(r"(Mapped\[)?str\b", kind)):
            yield name, node.lineno


def _forbidden(
    tree: Tree, modules: tuple[str, ...], packages: tuple[str, ...], remedy: str
) -> Iterator[tuple[str, int, str]]:
    for module in tree.modules:
        for found in module.imports():
            if _covers(modules, found.name):
                yield found.file, found.line, f"{found.name} is imported. {remedy}"
    for found in tree.requirements:
        if any(found.name == name or found.name.startswith(f"{name}-") for name in packages):
            yield found.file, found.line, f"{found.name} is required. {remedy}"


@cache
def _covers(names: tuple[str, ...], imported: str) -> bool:
    return any(imported == name or imported.startswith(f"{name}.") for name in names)


def _texts(tree: Tree, pattern: str) -> Iterator[Found]:
    for module in tree.modules:
        yield from (found for found in module.texts() if re.search(pattern, found.name, re.IGNORECASE))


def _named(part: str, names: Any) -> set[str]:
    return {name for name in names if part in name}


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


def _def(tree: Tree, file: str, name: str) -> int:
    """The line of a function or class; 1 when there is none."""
    for module in tree.modules:
        if module.file == file:
            for node in module.nodes(ast.FunctionDef, ast.ClassDef):
                if node.name == name:
                    return int(node.lineno)
    return 1


def _place(found: dict[str, Any]) -> tuple[str, int]:
    return found["file"], found["line"]


def _listed(names: Any) -> str:
    return ", ".join(sorted(map(str, names)))
