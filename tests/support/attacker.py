"""A plugin that tries what hostile code in a child would try, and says of each line whether it was refused.

Its pipelines: `attack` tries every line and returns {line: outcome}; each of `TOLD` tries one, and fails.
"""

from __future__ import annotations

import json
from pathlib import Path

#: Lines that also have a pipeline of their own, in which the error ends the job.
TOLD = ("fork", "connect_queue", "signal_victim", "read_database", "create_file", "resolve_name")

_MODULE = '''
import ctypes, errno, fcntl, json, os, signal, socket, struct, subprocess, sys, tempfile, threading
from videoqueue.errors import PermanentError
from videoqueue.pipeline.plugin import Manifest, Tool

libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def connect(family, kind, address):
    with socket.socket(family, kind) as made:
        made.connect(address)
        made.send(b"PING")


def in_fork(action):
    """Runs the action in a forked process, or here if forking is refused."""
    try:
        pid = os.fork()
    except PermissionError:
        return action()
    if pid == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0, "it failed in its process"


class Lines:
    """Each method is a line of attack on what the test has prepared."""

    def __init__(self, targets):
        self.targets = targets

    def read(self, path):
        with open(path, "rb") as file:
            assert file.read(1)

    def __getattr__(self, name):
        return self.targets[name]

    def read_environ_of_parent(self): self.read(f"/proc/{os.getppid()}/environ")
    def read_files_of_parent(self): os.listdir(f"/proc/{os.getppid()}/fd")
    def read_root_of_parent(self): self.read(f"/proc/{os.getppid()}/root{self.database}")

    def read_memory_of_parent(self):
        with open(f"/proc/{os.getppid()}/mem", "rb", 0) as memory:
            memory.seek(self.address)
            assert memory.read(6) == b"secret"

    def copy_memory_of_parent(self):
        here = ctypes.create_string_buffer(6)
        own = (ctypes.c_void_p * 2)(ctypes.addressof(here), 6)
        other = (ctypes.c_void_p * 2)(self.address, 6)
        checked(libc.process_vm_readv(os.getppid(), own, 1, other, 1, 0))

    def trace_victim(self): checked(libc.ptrace(16, self.victim, 0, 0))
    def signal_victim(self): os.kill(self.victim, signal.SIGCONT)
    def signal_parent(self): os.kill(os.getppid(), 0)
    def queue_signal(self):
        info = struct.pack("iiiiii", signal.SIGCONT, 0, -1, 0, os.getpid(), os.getuid()).ljust(128, b"\\0")
        checked(libc.syscall(129, self.victim, signal.SIGCONT, info))
    def open_victim(self): os.close(os.pidfd_open(self.victim))
    def signal_by_file(self):
        ends = os.pipe()
        fcntl.fcntl(ends[0], fcntl.F_SETOWN, self.victim)
    def limit_victim(self):
        import resource
        resource.prlimit(self.victim, resource.RLIMIT_CORE, (0, 0))
    def slow_victim(self): os.setpriority(os.PRIO_PROCESS, self.victim, 19)
    def pin_victim(self): os.sched_setaffinity(self.victim, os.sched_getaffinity(0))

    def fork(self):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    def run_program(self): subprocess.run(["/bin/true"], check=True)
    def execute(self): in_fork(lambda: os.execv("/bin/true", ["true"]))
    def leave_session(self): in_fork(os.setsid)

    def connect_queue(self): connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", self.queue))
    def connect_web(self): connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", self.web))
    def send_datagram(self): connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", self.datagrams))
    def connect_unix(self): connect(socket.AF_UNIX, socket.SOCK_STREAM, self.unix)
    def connect_abstract(self): connect(socket.AF_UNIX, socket.SOCK_STREAM, chr(0) + self.abstract)
    def ask_kernel(self): socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()
    def listen(self):
        with socket.socket() as made:
            made.bind(("127.0.0.1", 0))
            made.listen()

    def read_database(self): self.read(self.database)
    def write_database(self): open(self.database, "r+b").close()
    def truncate_database(self): os.truncate(self.database, 5)
    def open_database(self): os.chmod(self.database, 0o666)
    def date_database(self): os.utime(self.database)
    def read_other_video(self): self.read(self.other_video)
    def read_home(self): os.listdir(self.home)
    def read_key_at_home(self): self.read(self.home + "/key")
    def watch_folder(self):
        fd = checked(libc.inotify_init())
        checked(libc.inotify_add_watch(fd, self.folder.encode(), 256))
        os.close(fd)
    def create_file(self): open(self.folder + "/created", "wb").close()
    def create_folder(self): os.mkdir(self.folder + "/made")
    def remove_file(self): os.remove(self.removable)
    def rename_file(self): os.rename(self.movable, self.movable + ".moved")
    def link_file(self): os.link(self.database, self.folder + "/linked")
    def link_file_here(self): os.link(self.other_video, tempfile.gettempdir() + "/linked")
    def link_folder(self): os.symlink(self.home, self.folder + "/symlink")
    def make_pipe(self): os.mkfifo(self.folder + "/fifo")
    def change_code(self): open(__file__, "r+b").close()
    def truncate_code(self): os.close(os.open(self.code, os.O_RDONLY | os.O_TRUNC))
    def write_variable_of_kernel(self): open(f"/proc/{os.getpid()}/oom_score_adj", "r+").write("999")


#: Calls that the sandbox refuses whatever their arguments are; these are invalid, so that none does anything.
CALLS = {
    "semget": 64, "msgget": 68, "symlink": 88, "ptrace": 101, "mount": 165, "shmget": 29, "timer_create": 222,
    "mq_open": 240, "add_key": 248, "keyctl": 250, "inotify_add_watch": 254, "linkat": 265,
    "vmsplice": 278, "perf_event_open": 298, "name_to_handle_at": 303, "setns": 308, "process_vm_writev": 311,
    "kcmp": 312, "sched_setattr": 314, "memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323,
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "open_tree": 428, "fsopen": 430,
    "openat2": 437, "pidfd_getfd": 438, "process_madvise": 440, "landlock_create_ruleset": 444,
}


def refused_calls():
    """Returns the names of those that fail as the filter lets them fail."""
    found = []
    for name, number in CALLS.items():
        result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
        if result == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
            found.append(name)
    return found


class Attacker:
    names = [name for name in vars(Lines) if not name.startswith("_") and name != "read"]
    manifest = Manifest("attacker", "1", {
        **{name: Tool({"image": "image"}, {"outcome": "text"}) for name in (*names, "resolve_name")},
        "attack": Tool({"image": "image"}, {"outcomes": "lines", "owned": "lines", "calls": "names"}),
    }, network=NETWORK)

    def __init__(self, options):
        self.lines = Lines(json.loads(options.values["attacker.targets"]))

    def run_tool(self, tool, inputs):
        if tool == "attack":
            outcomes = {name: self.outcome(name) for name in self.names}
            missing = sorted(set(CALLS) - set(refused_calls()))
            return {"outcomes": outcomes, "owned": self.own(), "calls": missing}
        if tool == "resolve_name":
            socket.getaddrinfo("videos.example.com", 80)
        getattr(self.lines, tool)()
        return {"outcome": "done"}

    def outcome(self, name):
        try:
            getattr(self.lines, name)()
        except PermissionError:
            return "refused"
        except BaseException as error:
            return repr(error)
        return "done"

    def own(self):
        """What every plugin may do."""
        folder = tempfile.gettempdir()
        with tempfile.TemporaryDirectory() as inner:
            with open(inner + "/file", "w+") as file:
                file.write("text")
            os.rename(inner + "/file", inner + "/renamed")
        open(folder + "/left", "w").close()
        os.makedirs(folder + "/left.d/inner")
        threads = [threading.Thread(target=int) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.kill(os.getpid(), 0)
        with open(os.devnull, "w") as null:
            null.write("x")
        return {"scratch": folder, "home": os.path.expanduser("~"), "user": os.getuid()}
'''


def install(folder: Path, *, network: bool = False) -> tuple[Path, Path]:
    """Writes the package and its pipelines; returns the folders of both."""
    packages, pipelines = folder / "packages", folder / "pipelines"
    information = packages / "attacker-1.0.dist-info"
    information.mkdir(parents=True)
    (packages / "attacker.py").write_text(_MODULE.replace("NETWORK", str(network)))
    (packages / "attacked.py").write_text("ATTACKED = False\n")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: attacker\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[videoqueue.plugins]\nattacker = attacker:Attacker\n")
    pipelines.mkdir()
    for tool in ("attack", *TOLD):
        definition = {
            "id": tool,
            "description": f"Runs {tool}.",
            "nodes": [{"id": "run", "plugin": "attacker", "tool": tool}],
            "edges": [],
            "entry_nodes": ["run"],
            "output_nodes": ["run"],
        }
        (pipelines / f"{tool}.json").write_text(json.dumps(definition))
    return packages, pipelines
