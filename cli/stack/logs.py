"""The log files of the stack's processes."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_BYTES_MAX = 16 << 20  # two files of it a process: a forgotten stack must not fill the disk
_TAIL_BYTES = 16 << 10


def open_log(path: Path) -> BinaryIO:
    """Opens a log to add to it; one that has grown too long is set aside as `<name>.1` first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _BYTES_MAX:
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")


def tail(path: Path, lines: int = 12) -> str:
    """Returns the last lines of a log."""
    if not path.exists():
        return "(no log)"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
