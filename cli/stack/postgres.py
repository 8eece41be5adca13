"""Embedded PostgreSQL: one cluster in one folder, kept through crashes and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from cli.errors import StackError
from cli.stack import ports, private, process
from cli.stack.account import Account, is_reachable, make_folder, public_folder, server_account
from cli.stack.binaries import postgres_programs, postgres_version
from cli.stack.logs import open_log, tail
from cli.stack.memory import memory_bytes

DATABASE = "finops"
OUTSIDE_PREFIX = "cluster-"  # of folders that root makes outside of a data directory
OWNER_FILE = "data_dir"  # in such a folder: the data directory it belongs to
SUPERUSER = "postgres"
_MEGABYTE = 1 << 20
_START_SECONDS = 300.0  # after a crash the log of up to max_wal_size is replayed first
_POLL_SECONDS = 0.05
_BIND_ATTEMPTS = 3


def server_settings(memory: int) -> dict[str, str]:
    """Returns the server's settings for a machine with so many bytes of memory."""
    shared = min(1024, max(32, memory // 4 // _MEGABYTE))
    return {
        "listen_addresses": "127.0.0.1",
        # A socket's path may have 107 characters; a folder of the user's may be longer.
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "max_connections": "200",
        "shared_buffers": f"{shared}MB",
        "effective_cache_size": f"{max(64, memory // 2 // _MEGABYTE)}MB",
        "work_mem": "16MB",
        "maintenance_work_mem": f"{min(256, max(32, memory // 32 // _MEGABYTE))}MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "max_wal_size": "2GB",
        "min_wal_size": "256MB",
        "wal_compression": "pglz",
        "checkpoint_timeout": "10min",
        "checkpoint_completion_target": "0.9",
        "random_page_cost": "1.1",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        "log_line_prefix": "%m [%p] %u@%d ",
        "log_min_duration_statement": "2s",
        # Values may name persons, whom nobody erases from a log.
        "log_parameter_max_length": "0",
        "log_lock_waits": "on",
        "tcp_keepalives_idle": "30",
        "idle_in_transaction_session_timeout": "10min",
    }


class EmbeddedPostgres:
    """Runs the PostgreSQL of the installed wheel on a free port of 127.0.0.1.

    `<data_dir>/postgres.json` (0600) keeps the port and the password, so that a restart has the
    same address. Started by root, the server runs as another account, and its files lie outside of
    data_dir when that account could not pass through the folders above.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        options: Mapping[str, str] | None = None,
        log_path: Path | None = None,
    ) -> None:
        """Takes server settings that go before ours, and where the server's log goes."""
        self._data_dir = data_dir.absolute()
        self._options = dict(options or {})
        self._state_path = self._data_dir / "postgres.json"
        self._log_path = log_path or self._data_dir / "postgres.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it does not run."""
        folder = self._folder()
        return _server_pid(folder) if folder is not None else None

    @property
    def url(self) -> str:
        """The superuser's URL of the database `finops`. Valid once `start` has returned."""
        return self._url(DATABASE)

    async def start(self) -> str:
        """Starts the server, or takes over the one a killed run left behind; returns `url`.

        Raises StackError with the end of the server's log when it cannot start.
        """
        folder, account = await asyncio.to_thread(self._prepare)
        changed = _write_configuration(folder, account, self._settings())
        if self.pid is not None and changed:
            await self.stop()
        for attempt in range(_BIND_ATTEMPTS):
            if self.pid is None:
                await asyncio.to_thread(self._launch, folder, account)
            if await self._ready(is_last=attempt == _BIND_ATTEMPTS - 1):
                break
        await self._create_database()
        return self.url

    async def stop(self) -> None:
        """Ends the server: open transactions are rolled back, everything is on disk afterwards.

        Raises StackError when it does not end.
        """
        pid = self.pid
        if pid is not None:
            # SIGQUIT is a crash to the server, and crashes are safe.
            ended = await process.end(pid, (signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))
            if not ended:
                raise StackError(f"PostgreSQL (process {pid}) does not end; see {self._log_path}")
        if self._child is not None:
            await asyncio.to_thread(self._child.wait)
            self._child = None

    async def remove(self) -> None:
        """Ends the server and deletes the cluster with everything in it."""
        await self.stop()
        folder = self._folder()
        if folder is not None:
            outside = folder.parent != self._data_dir
            await asyncio.to_thread(shutil.rmtree, folder.parent if outside else folder)
        self._state_path.unlink(missing_ok=True)

    def _folder(self) -> Path | None:
        folder = private.read(self._state_path).get("folder")
        return Path(folder) if isinstance(folder, str) else None

    def _url(self, database: str) -> str:
        state = private.read(self._state_path)
        return f"postgresql://{SUPERUSER}:{state['password']}@127.0.0.1:{state['port']}/{database}"

    def _settings(self) -> dict[str, str]:
        return server_settings(memory_bytes()) | self._options

    def _prepare(self) -> tuple[Path, Account | None]:
        """Makes the cluster if there is none; returns its folder and the account that runs it."""
        # Others may pass through but not list: root's database account has to reach its folder.
        make_folder(self._data_dir, 0o711 if os.geteuid() == 0 else 0o700)
        folder = self._folder()
        if folder is None or not (folder / "PG_VERSION").exists():
            account = server_account()
            return self._initialise(account), account
        _check_version(folder)
        account = server_account(folder)
        if account is None and folder.stat().st_uid != os.geteuid():
            raise StackError(
                f"The database in {folder} belongs to the user {folder.owner()}; start the stack "
                "as that user or as root, or choose another --data-dir"
            )
        return folder, account

    def _initialise(self, account: Account | None) -> Path:
        home = self._data_dir
        if account is not None and not is_reachable(home):
            home = public_folder() / f"{OUTSIDE_PREFIX}{secrets.token_hex(6)}"
            make_folder(home, 0o711)
            private.write_text(home / OWNER_FILE, f"{self._data_dir}\n")
        folder = home / "cluster"
        if folder.exists():
            raise StackError(
                f"{self._state_path} with the password of the database in {folder} is missing; "
                f"restore it, or delete {folder} to begin with an empty database"
            )
        password = secrets.token_urlsafe(24)
        # Noted first: a crash before the cluster is in place makes a new one, after it keeps this.
        state = {"folder": str(folder), "password": password, "port": ports.free_port()}
        private.write(self._state_path, state)
        _initialise_cluster(folder, account, password)
        return folder

    def _launch(self, folder: Path, account: Account | None) -> None:
        state = private.read(self._state_path)
        port = ports.kept_port(state["port"])
        if port != state["port"]:
            private.write(self._state_path, state | {"port": port})
        if self._child is not None:
            self._child.poll()  # it has ended; this takes note of how
        # The server believes the process id in a file left by a crash, which may be another's now.
        (folder / "postmaster.pid").unlink(missing_ok=True)
        program = postgres_programs(account) / "postgres"
        with open_log(self._log_path) as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [program, "-D", folder, "-p", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal ends the stack in order
                user=account.user_id if account else None,
                group=account.group_id if account else None,
                extra_groups=[] if account else None,
            )

    async def _ready(self, *, is_last: bool) -> bool:
        """Waits until the server answers; False when only its port was taken meanwhile."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while loop.time() < deadline:
            if self._child is not None and self._child.poll() is not None:
                text = tail(self._log_path)
                self._child = None
                if "could not bind" in text and not is_last:
                    return False
                raise StackError(f"PostgreSQL did not start. The end of {self._log_path}:\n{text}")
            try:
                connection = await asyncpg.connect(self._url("postgres"), timeout=5)
            except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(_POLL_SECONDS)
                continue
            except asyncpg.InvalidPasswordError as error:
                raise StackError(
                    f"PostgreSQL refuses the password in {self._state_path}; restore that file or "
                    "choose another --data-dir"
                ) from error
            await connection.close()
            return True
        raise StackError(
            f"PostgreSQL does not answer after {_START_SECONDS:.0f} s. "
            f"The end of {self._log_path}:\n{tail(self._log_path)}"
        )

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(self._url("postgres"), timeout=30)
        try:
            with contextlib.suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()


def abandoned_clusters() -> list[Path]:
    """Returns the outside folders whose data directory was deleted without `--purge`."""
    abandoned = []
    for note in public_folder().glob(f"{OUTSIDE_PREFIX}*/{OWNER_FILE}"):
        owner = Path(note.read_text(encoding="utf-8").rstrip("\n"))
        kept = private.read(owner / "postgres.json").get("folder")
        if kept != str(note.parent / "cluster"):
            abandoned.append(note.parent)
    return sorted(abandoned)


def _server_pid(folder: Path) -> int | None:
    """Returns the process of the server that runs on the folder; None when there is none."""
    try:
        line = (folder / "postmaster.pid").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None
    pid = int(line) if line.isdigit() else 0
    return pid if pid and process.works_in(pid, folder) else None


def _check_version(folder: Path) -> None:
    found = (folder / "PG_VERSION").read_text(encoding="ascii").strip()
    ours = postgres_version().partition(".")[0]
    if found != ours:
        raise StackError(
            f"The database in {folder} was made by PostgreSQL {found}, and this is PostgreSQL "
            f"{ours}. Dump it with the release that made it, or choose another --data-dir"
        )


def _initialise_cluster(folder: Path, account: Account | None, password: str) -> None:
    """Makes a cluster beside and moves it into place: a crash leaves all of it or nothing."""
    scratch = folder.with_name("cluster.new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    secret = folder.with_name(".password")
    private.write_text(secret, password + "\n")
    if account is not None:
        account.own(scratch)
        account.own(secret)
    command: list[str | Path] = [
        postgres_programs(account) / "initdb",
        *("--pgdata", scratch, "--username", SUPERUSER, "--pwfile", secret),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-instructions"),
        *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
    ]
    try:
        result = subprocess.run(  # noqa: S603 - our own binary and arguments
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=scratch,
            env=_environment(),
            timeout=120,
            user=account.user_id if account else None,
            group=account.group_id if account else None,
            extra_groups=[] if account else None,
        )
    finally:
        secret.unlink()
    if result.returncode != 0:
        raise StackError(f"PostgreSQL cannot make its files in {folder}:\n{result.stderr.strip()}")
    scratch.rename(folder)


def _write_configuration(
    folder: Path, account: Account | None, settings: Mapping[str, str]
) -> bool:
    """Writes postgresql.conf; returns whether it differs from the one before."""
    path = folder / "postgresql.conf"
    lines = ["# Written on every start; settings of your own are lost."]
    for name, value in settings.items():
        quoted = value.replace("'", "''")
        lines.append(f"{name} = '{quoted}'")
    text = "\n".join(lines) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    private.write_text(path, text)
    if account is not None:
        account.own(path)
    return True


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
