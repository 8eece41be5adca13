"""What a command can fail with: one class an exit code, each message says what to do."""

from __future__ import annotations

from typing import ClassVar


class CommandError(Exception):
    """Base of every failure that a command shows as one sentence; exit code 1."""

    exit_code: ClassVar[int] = 1


class UsageError(CommandError):
    """The command line itself is not valid."""

    exit_code = 2


class Unreachable(CommandError):
    """The stack is not running or does not answer."""

    exit_code = 3


class Denied(CommandError):
    """The credential is missing, not valid, or does not allow the call."""

    exit_code = 4


class PartiallyRejected(CommandError):
    """The command did its work, and some of the rows were refused."""

    exit_code = 5


class StackError(CommandError):
    """A part of the local stack cannot start or stop."""
