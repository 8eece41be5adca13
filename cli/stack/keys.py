"""The stack's secrets, made once and kept."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cli.stack import private
from cli.stack.account import make_folder

FILE = "secrets.json"


@dataclass(frozen=True, slots=True)
class StackKeys:
    """Independent secrets of 256 bits.

    encryption_keys: as FINOPS_ENCRYPTION_KEYS has them, the one in use first, split by commas.
    """

    jwt_secret: str
    service_token_secret: str
    role_secret: str
    encryption_keys: str


def load_keys(data_dir: Path) -> StackKeys | None:
    """Returns the secrets in `<data_dir>/secrets.json`; None when one is not there yet."""
    kept = _kept(data_dir)
    return StackKeys(**kept) if len(kept) == len(fields(StackKeys)) else None


def load_or_make_keys(data_dir: Path) -> StackKeys:
    """Returns the secrets and makes those that are missing (file mode 0600).

    What is there stays: roles and stored secrets depend on it.
    """
    kept = _kept(data_dir)
    made = {field.name: secrets.token_hex(32) for field in fields(StackKeys)}
    keys = StackKeys(**(made | kept))
    if len(kept) < len(made):
        store_keys(data_dir, keys)
    return keys


def store_keys(data_dir: Path, keys: StackKeys) -> None:
    """Replaces the secrets in the file, as a whole."""
    make_folder(data_dir, 0o711)
    private.write(data_dir / FILE, asdict(keys))


def _kept(data_dir: Path) -> dict[str, str]:
    content = private.read(data_dir / FILE)
    return {
        field.name: content[field.name]
        for field in fields(StackKeys)
        if isinstance(content.get(field.name), str)
    }
