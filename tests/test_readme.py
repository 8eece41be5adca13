r"""Everything that the README tells a reader to type works, and shows what the README says.

Convention:

* A fenced block marked `console` is run, one marked `console no-run` is not. Other blocks are text.
* In a block, a line that begins with `$ ` is a command; it goes on while lines end with `\`. The
  lines below it are its output, where `...` stands for anything and blanks do not count; without
  such lines any output will do. A command has to end with status 0.
* The commands of all blocks run in order, from the root of the project, in one environment:
  `export` is seen by those that follow. `finops` is the installed command.
* They run against one stack with the demo, in a throw-away data directory (FINOPS_DATA_DIR), which
  the first test starts. `127.0.0.1:8080` and `localhost:8080` stand for its gateway.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.stack.ports import free_port
from cli.stack.state import read_state
from tests.support.readme import Command, commands_of
from tests.support.source_tree import ROOT

COMMANDS = commands_of(ROOT / "README.md")
START_SECONDS = 300
COMMAND_SECONDS = 120
_GATEWAY = re.compile(r"(127\.0\.0\.1|localhost):8080")


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell whose exported variables outlive each command."""

    folder: Path
    environment: dict[str, str]
    gateway: str

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        kept = self.folder / "environment.sh"
        kept.touch()
        script = (
            f". {kept}\n{_GATEWAY.sub(self.gateway, command)}\n"
            f"status=$?\nexport -p > {kept}\nexit $status\n"
        )
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    with tempfile.TemporaryDirectory(prefix="finops-readme-") as name:
        folder = Path(name)
        data_dir = folder / "finops"
        scripts = Path(sys.executable).parent
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FINOPS_")},
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "FINOPS_DATA_DIR": str(data_dir),
            "COLUMNS": "120",
            "NO_COLOR": "1",
        }
        finops = str(scripts / "finops")
        subprocess.run(
            # Other stacks of the tests may hold the default port meanwhile.
            [finops, "up", "--demo", "--detach", "--port", str(free_port())],
            env=environment,
            timeout=START_SECONDS,
            check=True,
        )
        try:
            gateway = read_state(data_dir).rest_url.partition("://")[2]
            yield Terminal(folder, environment, gateway)
        finally:
            subprocess.run([finops, "down"], env=environment, timeout=START_SECONDS, check=True)


@pytest.mark.e2e
@pytest.mark.parametrize("command", COMMANDS, ids=[f"line {command.line}" for command in COMMANDS])
def test_a_command_of_the_readme_works(terminal: Terminal, command: Command) -> None:
    done = terminal.run(command.text)

    where = f"README.md:{command.line}: $ {command.text}"
    assert done.returncode == 0, f"{where}\nends with {done.returncode}\n{done.stderr}{done.stdout}"
    assert command.accepts(done.stdout), (
        f"{where}\nshows\n{done.stdout}\nand not, as the README says,\n{command.shown}"
    )


def test_blocks_give_their_commands_and_outputs(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "# Title\n\n```console\n$ echo one \\\n>   two\none two\n$ true\n```\n\n"
        "```console no-run\n$ make run\n```\n\n```bash\n$ false\n```\n"
    )

    assert commands_of(readme) == [
        Command(4, "echo one \\\n  two", "one two\n"),
        Command(7, "true", ""),
    ]


@pytest.mark.parametrize(
    ("shown", "output", "is_accepted"),
    [
        ("", "anything", True),
        ("total 5 USD\n", "total   5 USD\n", True),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("total 5 USD\n", "total 6 USD\n", False),
    ],
)
def test_output_is_compared_loosely(shown: str, output: str, *, is_accepted: bool) -> None:
    assert Command(1, "command", shown).accepts(output) is is_accepted


def test_exports_outlive_their_command_and_a_failure_is_seen(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {"PATH": os.environ["PATH"]}, "127.0.0.1:41999")

    assert terminal.run("export NAME='a b'").returncode == 0
    assert terminal.run('echo "$NAME" http://localhost:8080/').stdout == (
        "a b http://127.0.0.1:41999/\n"
    )
    assert terminal.run("false | cat").returncode == 1
