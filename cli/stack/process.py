"""Processes that this program did not start itself: whether they live, and how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

_POLL_SECONDS = 0.02


def is_alive(pid: int) -> bool:
    """Tells whether the process exists and has not ended; a zombie has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def works_in(pid: int, folder: Path) -> bool:
    """Tells whether the process lives and its working folder is this one.

    It guards against a process id that the system has given to something else since it was noted.
    """
    if not is_alive(pid):
        return False
    if not Path("/proc/self").exists():
        return True
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except OSError:
        return False


def mark(pid: int) -> str:
    """Returns what tells the process from a later one with the same id; empty when it has ended."""
    if not is_alive(pid):
        return ""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        text = stat.read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()[19]  # start time in ticks since boot
    shown = subprocess.run(  # noqa: S603 - a number is its only argument
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], check=False, capture_output=True, text=True
    )
    return shown.stdout.strip()


def is_same(pid: int, marked: str) -> bool:
    """Tells whether the process that once had this id and mark is still alive."""
    return bool(marked) and mark(pid) == marked


async def end(pid: int, *steps: tuple[signal.Signals, float]) -> bool:
    """Sends the signals in turn and gives the process so many seconds after each.

    Returns whether it has ended.
    """
    loop = asyncio.get_running_loop()
    for number, seconds in steps:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        deadline = loop.time() + seconds
        while loop.time() < deadline:
            if not is_alive(pid):
                return True
            await asyncio.sleep(_POLL_SECONDS)
    return not is_alive(pid)
