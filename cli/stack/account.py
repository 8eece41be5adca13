"""An account other than root for the database, and places that it can reach.

PostgreSQL refuses to run as root. Started by root it runs as an account that the system has
already, with its files where that account may pass: folders above are never opened to others.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from cli.errors import StackError

_NAMES = ("postgres", "_postgres", "nobody")
_PUBLIC_FOLDERS = (Path("/var/lib/finops"), Path("/var/tmp/finops"))  # noqa: S108 - ownership is checked below


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the system that is not root."""

    name: str
    user_id: int
    group_id: int

    def own(self, path: Path) -> None:
        """Gives the file or folder to this account."""
        os.chown(path, self.user_id, self.group_id)


def server_account(existing: Path | None = None) -> Account | None:
    """Returns the account that runs the database; None when this process is not root.

    existing: a folder of an earlier run, whose owner is kept.
    Raises StackError when the system has no such account.
    """
    if os.geteuid() != 0:
        return None
    candidates = list(_NAMES)
    if existing is not None and existing.exists() and existing.stat().st_uid != 0:
        candidates = [existing.owner()]
    for name in candidates:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise StackError(
        "PostgreSQL does not run as root and this system has no account "
        f"{' or '.join(candidates)}; add one with `useradd --system postgres`, or start the "
        "stack as another user"
    )


def is_reachable(folder: Path) -> bool:
    """Tells whether any user may pass through the folder and all folders above it."""
    resolved = folder.resolve()
    return all(
        path.stat().st_mode & stat.S_IXOTH
        for path in (resolved, *resolved.parents)
        if path.exists()
    )


def make_folder(folder: Path, mode: int) -> None:
    """Makes the folder and those above it unless it exists; its own mode ignores the umask."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)


def public_folder() -> Path:
    """Returns a folder of root's that every account can pass through, and makes it if need be.

    Raises StackError when there is no such place.
    """
    refused = []
    for folder in _PUBLIC_FOLDERS:
        try:
            make_folder(folder, 0o755)
        except OSError as error:
            refused.append(f"{folder}: {error.strerror}")
            continue
        status = folder.lstat()
        # Anybody can make /var/tmp/finops first, and would then own what root runs from it.
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == 0
        if is_ours and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and is_reachable(folder):
            return folder
        refused.append(f"{folder}: not a folder that only root may change")
    raise StackError(f"No place for the database's files ({'; '.join(refused)})")
