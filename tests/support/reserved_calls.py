"""Calls and names that only some files may hold: commits, floats, clocks, settings, prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass

MONEY = re.compile(r"amount|cost|price|money|spend|spent|balance|charge|credit|invoice|tax|fee")
NOT_MONEY = re.compile(r"ratio|share|percent|score|growth|seconds|count|weight|probability|rank")


@dataclass(frozen=True, slots=True)
class Reserved:
    """A call or name that only some files may hold."""

    rule: str
    is_match: Callable[[ast.AST], bool]
    allowed: tuple[str, ...]


def calls(*names: str) -> Callable[[ast.AST], bool]:
    """Matches a call whose function, or its last attribute, has one of these names."""

    def is_match(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        return name in names

    return is_match


def names_attribute(*dotted: str) -> Callable[[ast.AST], bool]:
    """Matches an attribute such as `datetime.now`, whatever module it hangs on."""

    def is_match(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and any(
            ast.unparse(node) == name or ast.unparse(node).endswith(f".{name}") for name in dotted
        )

    return is_match


def is_commit_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in ("COMMIT", "commit")


def is_money_as_float(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "float":
        return is_money(" ".join(map(ast.unparse, node.args)))
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.annotation).startswith("float") and is_money(
            ast.unparse(node.target)
        )
    return (
        isinstance(node, ast.arg)
        and node.annotation is not None
        and ast.unparse(node.annotation).startswith("float")
        and is_money(node.arg)
    )


def is_money(text: str) -> bool:
    return bool(MONEY.search(text.lower())) and not NOT_MONEY.search(text.lower())


_TRANSACTION = ("services/kernel/database.py", "services/kernel/pool.py")
RESERVED = (
    Reserved("only the database commits", calls("commit"), _TRANSACTION),
    Reserved("only the database commits", is_commit_text, _TRANSACTION),
    Reserved("money is Decimal, never float", is_money_as_float, ()),
    Reserved(
        "only a Clock knows now",
        names_attribute(
            *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time")
        ),
        # The rate limiter's library tells its resets in the machine's time, whatever ours is.
        ("services/kernel/clock.py", "gateway/limits.py"),
    ),
    Reserved(
        "only settings, the command line and the SDK's client read the environment",
        names_attribute("os.environ", "os.getenv", "os.putenv"),
        (
            "services/kernel/settings.py",
            "gateway/settings.py",
            "cli/",
            "sdk/finops_sdk/client.py",
        ),
    ),
    Reserved("only the command line prints", calls("print"), ("cli/", "tools/")),
    Reserved(
        "errors become statuses in one place",
        calls("set_code", "set_details"),
        ("services/kernel/interceptors.py", "services/kernel/interceptors/"),
    ),
)
