"""Starts the stack in the background and waits until it is up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cli.errors import StackError
from cli.stack.account import make_folder
from cli.stack.logs import open_log, tail
from cli.stack.processes import Report
from cli.stack.state import read_state

_READY_SECONDS = 600.0  # the first start may have to load the demo on a slow machine
_POLL_SECONDS = 0.1


def start_detached(data_dir: Path, arguments: Sequence[str], report: Report) -> None:
    """Runs `finops up` with the arguments in a session of its own.

    Raises StackError with the end of its log when it does not come up.
    """
    make_folder(data_dir, 0o711)
    log_path = data_dir / "logs" / "stack.log"
    with open_log(log_path) as log:
        start = log.tell()
        child = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "cli.main", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    report(f"starting in the background, process {child.pid}; log in {log_path}")
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            text = log_path.read_bytes()[start:].decode("utf-8", errors="replace").strip()
            raise StackError(f"The stack did not start:\n{text}")
        state = read_state(data_dir)
        if state.pid == child.pid and state.phase == "ready" and state.is_loaded:
            # It outlives this process on purpose; without this the interpreter warns about it.
            child.returncode = 0
            return
        time.sleep(_POLL_SECONDS)
    raise StackError(f"The stack is not up after {_READY_SECONDS:.0f} s:\n{tail(log_path)}")
