"""What can be wrong with a stack and how to mend it, for `finops doctor`."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import jwt
from alembic.script import ScriptDirectory
from alembic.util import CommandError as RevisionError

from cli.errors import CommandError
from cli.stack import keys as stack_keys
from cli.stack import ports, state
from cli.stack.account import is_reachable, public_folder, server_account
from cli.stack.binaries import postgres_programs, postgres_version, redis_program
from cli.stack.health import processes_of
from cli.stack.postgres import abandoned_clusters
from cli.stack.redis import MISSING
from cli.stack.services import service_names
from cli.stack.supervisor import DEFAULT_PORT
from cli.tokens import AUDIENCE, ISSUER
from services.kernel.clock import Clock
from services.kernel.migrate import SERVICES

_PYTHON_MIN = (3, 11)
_DISK_BYTES_MIN = 2 << 30
_DISK_BYTES_TIGHT = 10 << 30
_CLOCK_SECONDS_MAX = 5.0
_CONNECT_SECONDS = 5.0
_PRIVATE_FILES = (stack_keys.FILE, state.FILE, "postgres.json", "redis.json")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. level: `ok`, `warning`, `failed`. remedy: what to do; empty when ok."""

    check: str
    level: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked. url, token: of a suite elsewhere, or the token in FINOPS_TOKEN."""

    data_dir: Path
    stack: state.StackState
    clock: Clock
    url: str
    token: str


Check = Callable[[Subject], Awaitable[Finding]]


async def check_python(subject: Subject) -> Finding:
    """Checks the version of Python."""
    del subject
    detail = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < _PYTHON_MIN:
        return Finding("python", "failed", detail, "Install Python 3.11 or later and `make setup`")
    return Finding("python", "ok", detail)


async def check_disk(subject: Subject) -> Finding:
    """Checks the space for the database."""
    folder = subject.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / (1 << 30):.1f} GiB free for {folder}"
    if free < _DISK_BYTES_MIN:
        return Finding("disk", "failed", detail, "Free some space, or choose another --data-dir")
    if free < _DISK_BYTES_TIGHT:
        return Finding("disk", "warning", detail, "The database may need more; free some space")
    return Finding("disk", "ok", detail)


async def check_data_dir(subject: Subject) -> Finding:
    """Checks that the data directory can be written."""
    folder = subject.data_dir
    if not folder.exists():
        return Finding("data directory", "ok", f"{folder} will be made by `finops up`")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "data directory",
            "failed",
            f"{folder} belongs to {folder.owner()} and cannot be written",
            f"Run as {folder.owner()}, or choose another --data-dir",
        )
    return Finding("data directory", "ok", str(folder))


async def check_permissions(subject: Subject) -> Finding:
    """Checks that nobody else can read the stack's secrets."""
    paths = [subject.data_dir / name for name in _PRIVATE_FILES]
    opened = [path for path in paths if path.exists() and path.stat().st_mode & 0o077]
    if opened:
        names = " ".join(str(path) for path in opened)
        return Finding(
            "file permissions", "failed", f"others can read {names}", f"chmod 600 {names}"
        )
    return Finding("file permissions", "ok", "secrets are readable by their owner only")


async def check_ports(subject: Subject) -> Finding:
    """Checks that the gateway's port is free, or ours."""
    if subject.stack.is_running:
        return Finding("ports", "ok", f"the gateway has {subject.stack.rest_url}")
    if ports.is_free(DEFAULT_PORT):
        return Finding("ports", "ok", f"{DEFAULT_PORT} is free")
    return Finding(
        "ports",
        "warning",
        f"something else listens on {DEFAULT_PORT}",
        "`finops up` will take a free port; --port names one",
    )


async def check_postgres(subject: Subject) -> Finding:
    """Checks that there is a PostgreSQL to run, or that the one named answers."""
    named = os.environ.get("FINOPS_DATABASE_URL")
    if named:
        version = await _ask(named, "SHOW server_version")
        return Finding("postgresql", "ok", f"{version} from FINOPS_DATABASE_URL")
    account = server_account()
    programs = postgres_programs(account)
    if not (programs / "postgres").exists():
        return Finding("postgresql", "failed", f"{programs} is empty", "Run `make clean setup`")
    detail = f"{postgres_version()} embedded, {programs}"
    if account is not None:
        detail += f", runs as {account.name}"
        if not is_reachable(subject.data_dir):
            detail += f" with its files in {public_folder()}"
        left = " ".join(str(folder) for folder in abandoned_clusters())
        if left:
            remedy = f"Their data directories are gone; when you need them no more: rm -r {left}"
            return Finding("postgresql", "warning", f"{detail}; left behind: {left}", remedy)
    return Finding("postgresql", "ok", detail)


async def check_redis(subject: Subject) -> Finding:
    """Checks that there is a Redis to run."""
    del subject
    if os.environ.get("FINOPS_REDIS_URL"):
        return Finding("redis", "ok", "from FINOPS_REDIS_URL")
    program = redis_program()
    if program is None:
        return Finding("redis", "warning", "no redis-server", MISSING)
    return Finding("redis", "ok", str(program))


async def check_migrations(subject: Subject) -> Finding:
    """Checks that every service's schema is at its newest revision."""
    url = os.environ.get("FINOPS_DATABASE_URL") or subject.stack.database_url
    if not url or not (subject.stack.is_running or os.environ.get("FINOPS_DATABASE_URL")):
        return Finding("migrations", "ok", "not checked: `finops up` migrates when it starts")
    behind = []
    for name in service_names():
        try:
            head = ScriptDirectory(str(SERVICES / name / "migrations")).get_current_head()
        except RevisionError:
            continue  # a service without tables
        found = await _ask(url, f"SELECT version_num FROM {name}.alembic_version")  # noqa: S608 - our own packages' names
        if found != head:
            behind.append(f"{name} is at {found or 'nothing'}, not {head}")
    if behind:
        return Finding("migrations", "failed", "; ".join(behind), "Run `finops migrate`")
    return Finding("migrations", "ok", "every schema is at its newest revision")


async def check_processes(subject: Subject) -> Finding:
    """Checks that every process is healthy."""
    if not subject.stack.is_running:
        return Finding(
            "processes",
            "warning",
            "the stack does not run",
            f"finops up --data-dir {subject.data_dir}",
        )
    found = await processes_of(subject.data_dir, subject.stack)
    sick = [
        f"{item.name} is {item.condition}"
        for item in found
        if item.condition in ("down", "unhealthy")
    ]
    if sick:
        logs = subject.data_dir / "logs"
        return Finding(
            "processes", "failed", "; ".join(sick), f"See {logs}; `finops down && finops up`"
        )
    restarts = {item.name: item.restarts for item in found if item.restarts}
    if restarts:
        text = ", ".join(f"{name} {number} times" for name, number in restarts.items())
        return Finding("processes", "warning", f"started again: {text}", "See their logs for why")
    return Finding("processes", "ok", f"{len(found)} healthy")


async def check_clock(subject: Subject) -> Finding:
    """Checks this machine's clock against the suite's, since tokens carry times."""
    url = subject.url if subject.url.startswith("http") else subject.stack.rest_url
    if not url or not (subject.url or subject.stack.is_running):
        return Finding("clock", "ok", f"{subject.clock.now():%Y-%m-%d %H:%M:%S} UTC, not compared")
    async with httpx.AsyncClient(timeout=_CONNECT_SECONDS) as client:
        answer = await client.get(f"{url.rstrip('/')}/healthz")
    try:
        theirs = datetime.strptime(
            answer.headers.get("date", ""), "%a, %d %b %Y %H:%M:%S GMT"
        ).replace(tzinfo=UTC)
    except ValueError:
        return Finding("clock", "ok", "not compared: the gateway names no time")
    seconds = (subject.clock.now() - theirs).total_seconds()
    if abs(seconds) > _CLOCK_SECONDS_MAX:
        return Finding(
            "clock",
            "failed",
            f"{seconds:+.0f} s against the gateway's",
            "Set the clock (NTP); tokens would be refused as expired or from the future",
        )
    return Finding("clock", "ok", "agrees with the gateway's")


async def check_token(subject: Subject) -> Finding:
    """Checks FINOPS_TOKEN, where it is set."""
    if not subject.token:
        detail = "FINOPS_TOKEN is not set; the local stack does not need it"
        return Finding(
            "token", "ok" if not subject.url else "failed", detail, _token_remedy(subject)
        )
    if subject.token.startswith("fk_"):
        return Finding("token", "ok", "an API key")
    kept = None if subject.url else stack_keys.load_keys(subject.data_dir)
    try:
        claims = jwt.decode(
            subject.token,
            kept.jwt_secret if kept else "",
            algorithms=["HS256", "RS256", "EdDSA"],
            options={"verify_signature": kept is not None},
            issuer=ISSUER if kept else None,
            audience=AUDIENCE if kept else None,
        )
    except jwt.InvalidTokenError as error:
        return Finding("token", "failed", str(error), "Make a new one with `finops token`")
    ends = datetime.fromtimestamp(claims.get("exp", 0), UTC)
    detail = f"tenant {claims.get('tenant')}, roles {claims.get('roles')}, until {ends:%F %T} UTC"
    if ends <= subject.clock.now():
        return Finding("token", "failed", detail, "It has expired; make a new one")
    return Finding("token", "ok", detail)


def _token_remedy(subject: Subject) -> str:
    return f"export FINOPS_TOKEN=… for {subject.url}" if subject.url else ""


async def _ask(url: str, query: str) -> str:
    """Returns the first value of a query; empty when its table does not exist."""
    connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
    try:
        return str(await connection.fetchval(query) or "")
    except asyncpg.UndefinedTableError:
        return ""
    finally:
        await connection.close()


CHECKS: dict[str, Check] = {
    "python": check_python,
    "disk": check_disk,
    "data directory": check_data_dir,
    "file permissions": check_permissions,
    "ports": check_ports,
    "postgresql": check_postgres,
    "redis": check_redis,
    "migrations": check_migrations,
    "processes": check_processes,
    "clock": check_clock,
    "token": check_token,
}


async def examine(subject: Subject) -> list[Finding]:
    """Runs every check; one that cannot be done is a failed one."""

    async def guarded(name: str, check: Check) -> Finding:
        try:
            return await check(subject)
        except CommandError as error:
            return Finding(name, "failed", str(error))
        except (OSError, asyncpg.PostgresError, httpx.HTTPError, TimeoutError) as error:
            return Finding(
                name, "failed", f"{type(error).__name__}: {error}", "See the logs of the stack"
            )

    return list(await asyncio.gather(*(guarded(*item) for item in CHECKS.items())))
