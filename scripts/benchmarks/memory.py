"""How much memory a process has used."""

from __future__ import annotations

from pathlib import Path


def peak_mb(process: int | str) -> int:
    """Returns the largest resident set of a process in MB: VmHWM of proc_pid_status(5).

    ru_maxrss of getrusage(2) would begin with the memory of the process that started it.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024)
