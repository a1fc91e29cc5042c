"""Rules on workers: one queue, one pipeline for a job, and no other way from one worker to another."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from governance.rule import Findings, covers, forbidden, line_of, listed, named, place, rule, texts
from governance.tree import Module, Tree, dotted

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


@rule("queue-payload", "a message on the queue is {job_id} and nothing else")
def queue_payload(tree: Tree) -> Findings:
    job, remedy = tree.served["job"], "The job's row has everything else: send the job_id alone, once."
    if job["messages"] != [{"args": [], "kwargs": {"job_id": job["job_id"]}}]:
        yield (
            "videoqueue/broker.py",
            line_of(tree, "videoqueue/broker.py", "announce"),
            f"submitting announced {job['messages']}. {remedy}",
        )
    for name, parameters in tree.served["queue"]["actors"].items():
        if parameters != ["job_id"]:
            file = "videoqueue/worker/actors.py"
            yield (
                file,
                line_of(tree, file, name),
                f"actor {name} takes {', '.join(parameters) or 'nothing'}. {remedy}",
            )


@rule(
    "worker-channel",
    "workers speak to no other worker: no socket of their own, no publish and subscribe, no cluster",
)
def worker_channel(tree: Tree) -> Findings:
    remedy = "Workers meet in the database alone."
    yield from forbidden(tree, CHANNEL_MODULES, CHANNEL_PACKAGES, remedy)
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
    for found in texts(tree, CHANNEL_TEXTS):
        yield found.file, found.line, f"{found.name.strip()!r} opens a channel. {remedy}"


@rule("one-queue", "one queue with one actor, and `announce` is all that puts a message on it")
def one_queue(tree: Tree) -> Findings:
    broker, remedy = "videoqueue/broker.py", "There is one queue, and announce() alone fills it."
    queue = tree.served["queue"]
    if len(queue["queues"]) != 1:
        yield (
            broker,
            line_of(tree, broker, "build_broker"),
            f"the queues are {listed(queue['queues'])}. {remedy}",
        )
    if len(queue["actors"]) != 1:
        file = "videoqueue/worker/actors.py"
        yield file, line_of(tree, file, "declare"), f"the actors are {listed(queue['actors'])}. {remedy}"
    for module in tree.modules:
        for found in module.imports():
            if covers(COMPOSITIONS, found.name):
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
def one_pipeline(tree: Tree) -> Findings:
    remedy = "A job names one pipeline, as a text; clients submit a video once for each pipeline."
    for name, table in tree.served["tables"].items():
        columns = named("pipeline", table["columns"])
        if columns != (PIPELINE_COLUMNS if name == "job" else set()):
            yield *place(table), f"table {name} has {listed(columns) or 'no pipeline'}. {remedy}"
        if name != "result_chunk" and table["refers_to"]:
            yield *place(table), f"table {name} refers to {listed(table['refers_to'])}. {remedy}"
    kind = tree.served["tables"]["job"]["columns"].get("pipeline_id", "")
    if not kind.startswith("VARCHAR"):
        yield *place(tree.served["tables"]["job"]), f"pipeline_id is {kind or 'missing'}. {remedy}"
    for name, schema in tree.served["schemas"].items():
        for field in sorted(named("pipeline", schema["fields"])):
            kind = "String" if field == "pipeline_id" else PIPELINE_FIELDS.get((name, field))
            if kind not in schema["fields"][field]:
                yield (
                    *place(schema),
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
