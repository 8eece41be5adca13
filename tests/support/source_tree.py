"""The project's own files, as the tests of its conventions read them."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PRODUCT = ("services", "gateway", "cli", "sdk", "tools")
# Written by tools, or by nobody here; everything else in the tree is ours.
IGNORED = frozenset(
    {
        "gen",
        "build",
        "dist",
        "node_modules",
        "__pycache__",
        "vendor",
        "requirements.lock",
        "LICENSE",
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One place that breaks a rule."""

    path: Path
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.rule}"


def require_none(findings: Iterable[Finding]) -> None:
    """Fails with every finding on a line of its own."""
    lines = [str(finding) for finding in sorted(findings)]
    assert not lines, "\n" + "\n".join([*lines, f"{len(lines)} places break a convention"])


@cache
def files(*suffixes: str, under: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """Returns our files with one of these suffixes, in a stable order.

    under: folders of the root to look in, all of it by default. Without a suffix, any file.
    """
    tops = [ROOT / name for name in under] or [ROOT]
    return tuple(
        sorted(
            path for top in tops for path in _walk(top) if not suffixes or path.suffix in suffixes
        )
    )


def _walk(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        hidden = path.name.startswith(".") and path.name not in (".ci", ".github", ".gitignore")
        if hidden or path.name in IGNORED or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


def is_in(path: Path, *places: str) -> bool:
    """Says whether a file is one of these, or in a folder of these that end with a slash."""
    relative = path.relative_to(ROOT).as_posix()
    return any(relative.startswith(at) if at.endswith("/") else relative == at for at in places)


@cache
def text_of(path: Path) -> str:
    """Returns a file's text, empty for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@cache
def tree_of(path: Path) -> ast.Module:
    """Returns a Python file's syntax tree."""
    return ast.parse(text_of(path), filename=str(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Returns all nodes of a Python file."""
    return tuple(ast.walk(tree_of(path)))


def services() -> list[str]:
    """Returns the names of the services that exist."""
    return sorted(
        path.parent.name
        for path in (ROOT / "services").glob("*/__init__.py")
        if path.parent.name != "kernel"
    )


def module_name(path: Path) -> str:
    """Returns the dotted name under which Python imports a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "sdk" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (line, dotted name) of each import; `from a import b` gives a and a.b."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def pyproject() -> dict[str, Any]:
    """Returns the parsed pyproject.toml."""
    return tomllib.loads(text_of(ROOT / "pyproject.toml"))
