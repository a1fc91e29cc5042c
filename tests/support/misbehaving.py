"""A plugin, as a package, that measures, dawdles, and has a tool for every way in which one may go wrong."""

from __future__ import annotations

import json
from pathlib import Path

TOOLS = (
    "measure",
    "dawdle",
    "segfault",
    "hang",
    "eat_memory",
    "abort_without_memory",
    "hoard",
    "need",
    "grow",
    "raise_error",
    "write_large_file",
    "give_huge_result",
    "give_text",
    "give_deep_list",
    "raise_words",
    "send_bytes",
    "print_text",
    "print_flood",
    "linger",
    "leave_files",
    "fill_scratch",
    "share_memory",
)

_MODULE = '''
import ctypes, mmap, os, subprocess, sys, tempfile, threading, time
from videoqueue.errors import PermanentError
from videoqueue.pipeline.plugin import Manifest, Tool

PIECE = 340 << 20
hoarded = []
one_at_a_time = threading.Lock()


def reserved():
    """Memory that counts against the limit and is never touched, so that it is not resident."""
    return mmap.mmap(-1, PIECE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class Misbehaving:
    manifest = Manifest("misbehaving", "1", {
        name: Tool({"image": "image"}, {"brightness": "number"}) for name in %r
    })

    def __init__(self, options):
        # Given by a test as the plugin value "misbehaving.says", in hexadecimal.
        self.says = bytes.fromhex(options.values.get("misbehaving.says", ""))
        self.text = self.says.decode("utf-8", "surrogatepass") if not self.says.count(255) else ""

    def run_tool(self, tool, inputs):
        value = getattr(self, tool)()
        return {"brightness": value or round(float(inputs["image"].mean()), 2)}

    def measure(self):
        pass

    def dawdle(self):
        time.sleep(0.1)  # so that a video is not over before a test has looked at its child

    def segfault(self):
        ctypes.string_at(0)

    def hang(self):
        ctypes.PyDLL(None).sleep(3600)  # and holds the interpreter's lock

    def eat_memory(self):
        while True:
            hoarded.append(bytearray(16 << 20))

    def abort_without_memory(self):
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\\n")
        os.abort()

    def hoard(self):
        with one_at_a_time:
            if not hoarded:
                hoarded.append(reserved())

    def need(self):
        with one_at_a_time:
            reserved().close()

    def grow(self):
        with one_at_a_time:
            if not hoarded:
                hoarded.append(b"x" * PIECE)

    def raise_error(self):
        raise ValueError("a plugin's own mistake")

    def write_large_file(self):
        with tempfile.TemporaryFile() as file:
            file.write(bytes(64 << 10))

    def give_huge_result(self):
        return "x" * (20 << 20)

    def give_text(self):
        return self.text

    def give_deep_list(self):
        value = []
        for _ in range(5000):
            value = [value]
        return value

    def raise_words(self):
        raise PermanentError(self.text)

    def send_bytes(self):
        with one_at_a_time:
            said, self.says = self.says, b""
            while said:
                said = said[os.write(int(sys.argv[2]), said):]

    def print_text(self):
        with one_at_a_time:
            os.write(2, self.says)
            self.says = b""

    def print_flood(self):
        with one_at_a_time:
            for number in range(200_000):
                print("number", number, "x" * 90)
            os.write(2, b"no end" * (1 << 20))
            print()
            print("the last word")

    def linger(self):
        # A process in a session of its own survives its child, and keeps the child's pipes open.
        with one_at_a_time:
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], start_new_session=True)

    def leave_files(self):
        folder = tempfile.mkdtemp()
        for number in range(1500):
            open(f"{folder}/{number}", "w").close()

    def share_memory(self):
        """Uses up to 512 MiB of memory that RLIMIT_DATA does not count, and waits."""
        with one_at_a_time:
            for _ in range(32):
                hoarded.append(mmap.mmap(-1, 16 << 20))
                hoarded[-1].write(bytes(16 << 20))
            time.sleep(600)

    def fill_scratch(self):
        """Writes up to 16 MB of files in the way that the text names, each of 32 KiB at most, and waits."""
        os.chdir(tempfile.gettempdir())
        kept = []
        for number in range(500):
            if self.text == "files":
                open(str(number), "wb").write(bytes(32 << 10))
            elif self.text == "names":
                for inner in range(10):
                    open(f"{number}.{inner}", "wb").close()
            elif self.text == "depth":
                os.mkdir("d")
                os.chdir("d")
            elif self.text == "closed folders":
                os.mkdir(str(number), 0o300)
                open(f"{number}/file", "wb").write(bytes(32 << 10))
            elif self.text == "deleted files":
                kept.append(tempfile.TemporaryFile())
                kept[-1].write(bytes(32 << 10))
            elif self.text == "mapped files":
                with tempfile.TemporaryFile() as file:
                    file.write(bytes(32 << 10))
                    file.flush()
                    kept.append(mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE))
        time.sleep(600)
'''


def install(folder: Path) -> tuple[Path, Path]:
    """Writes the package and a pipeline for each of its tools; returns the folders of both."""
    packages, pipelines = folder / "packages", folder / "pipelines"
    information = packages / "misbehaving-1.0.dist-info"
    information.mkdir(parents=True)
    (packages / "misbehaving.py").write_text(_MODULE % (TOOLS,))
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[videoqueue.plugins]\nmisbehaving = misbehaving:Misbehaving\n"
    )
    pipelines.mkdir()
    for tool in TOOLS:
        (pipelines / f"{tool}.json").write_text(json.dumps(_definition(tool)))
    return packages, pipelines


def _definition(tool: str) -> dict[str, object]:
    return {
        "id": tool,
        "description": f"Runs {tool} on every frame.",
        "nodes": [{"id": "run", "plugin": "misbehaving", "tool": tool}],
        "edges": [],
        "entry_nodes": ["run"],
        "output_nodes": ["run"],
    }
