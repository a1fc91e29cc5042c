"""Rules on libraries: none that streams or pushes, none for a GPU; nor what belongs to them."""

from __future__ import annotations

import ast
import re

from governance.rule import Findings, forbidden, place, rule, texts
from governance.tree import Tree

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


@rule("streaming-library", "no WebSocket, SSE or streaming-push library is imported or required")
def streaming_library(tree: Tree) -> Findings:
    remedy = "Remove it; clients poll /video/status."
    yield from forbidden(tree, STREAMING_MODULES, STREAMING_PACKAGES, remedy)


@rule("streaming-route", "no route, media type or header of a stream or WebSocket")
def streaming_route(tree: Tree) -> Findings:
    for route in tree.served["routes"]:
        if route["websocket"]:
            yield *place(route), f"{route['path']} is a WebSocket. Remove it; clients poll /video/status."
    for found in texts(tree, STREAMING_TEXTS):
        yield (
            found.file,
            found.line,
            f"{found.name!r} belongs to a stream. Remove it; clients poll /video/status.",
        )


@rule("gpu", "no GPU: no library, setting or device other than the CPU")
def gpu(tree: Tree) -> Findings:
    remedy = "Inference runs on the CPU."
    yield from forbidden(tree, GPU_MODULES, GPU_PACKAGES, remedy)
    for found in texts(tree, GPU_TEXTS):
        yield found.file, found.line, f"{found.name!r} names a device. {remedy}"
    for name, where in tree.served["settings"].items():
        if re.search(GPU_SETTINGS, name):
            yield *place(where), f"{name} chooses a device. {remedy}"
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
