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
    """Three independent secrets of 256 bits."""

    jwt_secret: str
    service_token_secret: str
    role_secret: str


def load_keys(data_dir: Path) -> StackKeys | None:
    """Returns the secrets in `<data_dir>/secrets.json`; None when there are none yet."""
    content = private.read(data_dir / FILE)
    names = [field.name for field in fields(StackKeys)]
    if not all(isinstance(content.get(name), str) for name in names):
        return None
    return StackKeys(**{name: content[name] for name in names})


def load_or_make_keys(data_dir: Path) -> StackKeys:
    """Returns the secrets and makes them on the first start (file mode 0600)."""
    keys = load_keys(data_dir)
    if keys is None:
        keys = StackKeys(*(secrets.token_hex(32) for _ in fields(StackKeys)))
        make_folder(data_dir, 0o711)
        private.write(data_dir / FILE, asdict(keys))
    return keys
