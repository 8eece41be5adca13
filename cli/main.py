"""The `finops` command: loads the command that is asked for, and turns failures into exit codes.

Exit codes: 0 done; 1 failed; 2 the command line or the request is not valid; 3 the stack is not
running or not reachable; 4 denied; 5 done, but some rows were refused.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import grpc
import typer
from finops_sdk import ApiError
from typer.core import TyperGroup

from cli.errors import CommandError, Denied, Unreachable, UsageError
from cli.output import Output, discard_output, is_debugging

# One module a noun, imported when it is used: `finops token` need not load the database.
COMMANDS = {
    "up": "cli.up",
    "down": "cli.down",
    "status": "cli.status",
    "doctor": "cli.doctor",
    "migrate": "cli.migrate",
    "serve": "cli.serve",
    "token": "cli.token",
    "import": "cli.imports",
    "dashboard": "cli.dashboard",
    "reports": "cli.reports",
    "costs": "cli.costs",
    "export": "cli.exports",
    "usage": "cli.usage",
    "prices": "cli.prices",
    "budgets": "cli.budgets",
    "spend": "cli.spend",
    "alerts": "cli.alerts",
    "keys": "cli.keys",
    "invoices": "cli.invoices",
    "billing": "cli.billing",
    "forecast": "cli.forecast",
    "anomalies": "cli.anomalies",
    "recommendations": "cli.recommendations",
    "plans": "cli.plans",
    "subscriptions": "cli.subscriptions",
    "feed": "cli.feed",
    "audit": "cli.audit",
    "compliance": "cli.compliance",
    "reconcile": "cli.reconcile",
}
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_CODES: dict[grpc.StatusCode, type[CommandError]] = {
    grpc.StatusCode.UNAUTHENTICATED: Denied,
    grpc.StatusCode.PERMISSION_DENIED: Denied,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unreachable,
    grpc.StatusCode.INVALID_ARGUMENT: UsageError,
    grpc.StatusCode.OUT_OF_RANGE: UsageError,
}


class LazyGroup(TyperGroup):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the commands in the order in which a newcomer meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns the command of this name; None when there is none."""
        del ctx
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = typer.main.get_command(importlib.import_module(module).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Meters usage, attributes cost and runs the suite on this machine.",
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 not valid, 3 not running or unreachable, 4 denied, "
        "5 some rows were refused."
    ),
)


@app.callback()
def _finops() -> None:
    """Makes the application a group."""


def explain(error: ApiError) -> CommandError:
    """Returns the failure of a call as a command's failure, with what to do about it."""
    kind = _CODES.get(error.code, CommandError)
    text = error.message
    details = [f"{name}: {what}" for name, what in error.violations if what and what not in text]
    if details:
        text = "\n  ".join([text, *details])
    if error.code is grpc.StatusCode.UNIMPLEMENTED:
        text = f"This suite does not serve that; it may be older than this command ({text})"
    if kind is Unreachable:
        text = f"The suite does not answer ({text}); see `finops status` and `finops doctor`"
    if error.code is grpc.StatusCode.UNAUTHENTICATED:
        text = f"{text} Check FINOPS_TOKEN, or make a new one with `finops token`."
    return kind(text)


def run(arguments: Sequence[str]) -> int:
    """Runs the command line and returns its exit code; every failure is one clear message."""
    try:
        result: Any = typer.main.get_command(app).main(
            args=list(arguments), prog_name="finops", standalone_mode=False
        )
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return 0
    except Exception as error:  # noqa: BLE001 - the edge of the program: nothing may pass as a trace
        return show_failure(error, Output())
    return result if isinstance(result, int) else 0


def show_failure(error: Exception, output: Output) -> int:
    """Shows a failure as one message and returns the exit code."""
    if isinstance(error, ApiError):
        error = explain(error)
    if isinstance(error, CommandError):
        output.error(str(error))
        return error.exit_code
    # Typer raises the errors of its own copy of Click, which it does not export.
    show: Any = getattr(error, "show", None)
    if show is not None:
        show()
        return int(getattr(error, "exit_code", UsageError.exit_code))
    if is_debugging():
        raise error
    output.error(
        f"{type(error).__name__}: {error}\n"
        "This is a defect of finops; FINOPS_DEBUG=1 shows where it happened."
    )
    return CommandError.exit_code


def main() -> None:
    """Runs the `finops` command."""
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
