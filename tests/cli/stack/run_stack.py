"""Runs a stack of stand-ins: `python -m tests.cli.stack.run_stack DATA_DIR PORT|- SERVICE…`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cli.errors import CommandError
from cli.output import Output
from cli.stack import supervisor
from cli.stack.keys import StackKeys
from cli.stack.state import StackState

STAND_IN = Path(__file__).with_name("stand_in.py")


async def no_migrations(owner_url: str, keys: StackKeys) -> dict[str, str]:
    assert owner_url
    assert keys.role_secret
    return {}


def command(module: str) -> list[str]:
    kinds = {"gateway": "gateway", "services.broken": "broken"}
    return [sys.executable, str(STAND_IN), kinds.get(module, "service")]


async def on_ready(state: StackState) -> None:
    assert state.phase == "ready"


def main(data_dir: Path, port: int | None, names: list[str]) -> int:
    supervisor.service_names = lambda: names  # type: ignore[attr-defined]
    supervisor.migrate_all = no_migrations
    supervisor.module_command = command  # type: ignore[attr-defined]
    output = Output()
    stack = supervisor.Stack(data_dir, report=output.note, port=port)
    try:
        asyncio.run(stack.run(on_ready))
    except CommandError as error:
        output.error(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(
        main(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2] != "-" else None, sys.argv[3:])
    )
