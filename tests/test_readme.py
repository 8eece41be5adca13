r"""Everything that README and guides tell a reader to type works, and shows what they say.

Convention:

* A fenced block marked `console` is run, one marked `console no-run` is not. Other blocks are text.
  In one marked `console figures`, any number is as good as another: the demo's change by the day.
* In a block, a line that begins with `$ ` is a command; it goes on in lines that begin with `> `,
  and after those that end with `\`. The lines below it are its output: `...` stands for anything,
  blanks do not count, and any identifier or instant is as good as another. Without such lines any
  output will do. A command has to end with status 0.
* The commands of all blocks of a document run in order, in one environment: `export` is seen by
  those that follow. `finops` is the installed command. Those of the README run in the root of the
  project, those of a guide in a folder that holds the tables of docs/ and nothing else.
* They run one document after the other against one stack with the demo, in a throw-away data
  directory (FINOPS_DATA_DIR). `127.0.0.1:8080` and `localhost:8080` stand for its gateway,
  `127.0.0.1:19901` for a receiver that takes what is posted. Nobody is at the place of Stripe.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from cli.stack.ports import free_port
from cli.stack.state import read_state
from tests.support.readme import Command, commands_of
from tests.support.source_tree import ROOT

DOCUMENTS = (
    "docs/optimizer.md",
    "docs/budgets.md",
    "README.md",
    "docs/billing.md",
    "docs/stripe.md",
)
START_SECONDS = 300
COMMAND_SECONDS = 120
_GATEWAY = re.compile(r"(127\.0\.0\.1|localhost):8080")
_RECEIVER = re.compile(r"127\.0\.0\.1:19901")


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell whose exported variables outlive each command. folder: keeps them.

    place: where commands run.
    """

    folder: Path
    environment: dict[str, str]
    gateway: str
    place: Path = ROOT
    receiver: str = ""

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        kept = self.folder / "environment.sh"
        kept.touch()
        typed = _RECEIVER.sub(self.receiver, _GATEWAY.sub(self.gateway, command))
        script = f". {kept}\n{typed}\nstatus=$?\nexport -p > {kept}\nexit $status\n"
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.place,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )


class _Taking(BaseHTTPRequestHandler):
    """Takes what is posted."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(HTTPStatus.OK)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def receiver() -> Iterator[str]:
    """Runs a receiver; yields its host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Taking) as server:
        running = Thread(target=server.serve_forever)
        running.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        running.join()


@contextmanager
def terminals() -> Iterator[dict[str, Terminal]]:
    """Starts a stack; yields a terminal for each document."""
    with tempfile.TemporaryDirectory(prefix="finops-readme-") as name, receiver() as taking:
        folder = Path(name)
        data_dir = folder / "finops"
        scripts = Path(sys.executable).parent
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FINOPS_")},
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "FINOPS_DATA_DIR": str(data_dir),
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "FINOPS_STRIPE_ADDRESS": f"http://127.0.0.1:{free_port()}",
            "FINOPS_EGRESS_ALLOW": "127.0.0.1",
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
            found = {}
            for document in DOCUMENTS:
                own = folder / "terminals" / document
                place = ROOT if document == "README.md" else own / "place"
                if place != ROOT:
                    (place / "docs").mkdir(parents=True)
                    for table in (ROOT / "docs").glob("*.csv"):
                        shutil.copy(table, place / "docs")
                own.mkdir(parents=True, exist_ok=True)
                found[document] = Terminal(own, environment, gateway, place, taking)
            yield found
        finally:
            # The database of whoever is root stands elsewhere.
            subprocess.run(
                [finops, "down", "--purge", "--yes"],
                env=environment,
                timeout=START_SECONDS,
                check=True,
            )


@pytest.mark.e2e
def test_the_commands_of_the_documents_work() -> None:
    """One test, because tests are handed to workers one by one and a stack takes a while."""
    with terminals() as found:
        wrong = [_complaint(document, terminal) for document, terminal in found.items()]

    assert "".join(wrong) == ""


def _complaint(document: str, terminal: Terminal) -> str:
    """Runs a document to its first command that does not work; says which, "" where all do."""
    commands = commands_of(ROOT / document)
    if not commands:
        return f"{document} has no commands\n"
    for command in commands:
        done = terminal.run(command.text)
        where = f"{document}:{command.line}: $ {command.text}"
        if done.returncode != 0:
            return f"{where}\nends with {done.returncode}\n{done.stderr}{done.stdout}\n"
        # A terminal shows both; what is to be read by programs goes to the first alone.
        shown = done.stdout + done.stderr
        if not (command.accepts(done.stdout) or command.accepts(shown)):
            return f"{where}\nshows\n{shown}\nand not, as the document says,\n{command.shown}\n"
    return ""


def test_blocks_give_their_commands_and_outputs(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "# Title\n\n```console\n$ echo one \\\n>   two\none two\n$ true\n```\n\n"
        "```console\n$ cat <<END\n> one\n> END\none\n```\n\n"
        "```console figures\n$ date +%s\n7\n```\n\n"
        "```console no-run\n$ make run\n```\n\n```bash\n$ false\n```\n"
    )

    assert commands_of(readme) == [
        Command(4, "echo one \\\n  two", "one two\n"),
        Command(7, "true", ""),
        Command(11, "cat <<END\none\nEND", "one\n"),
        Command(18, "date +%s", "7\n", any_figures=True),
    ]


def test_figures_of_a_day_are_compared_by_their_place() -> None:
    command = Command(1, "command", "spent 3,076.401233 USD (68.4 %)\n", any_figures=True)

    assert command.accepts("spent -1 USD (0 %)\n")
    assert not command.accepts("spent 1 EUR (0 %)\n")


@pytest.mark.parametrize(
    ("shown", "output", "is_accepted"),
    [
        ("", "anything", True),
        ("total 5 USD\n", "total   5 USD\n", True),
        (
            "01m86z6qxvkrfkqrmf5k34wk31 2026-11-24T14:25:42.313689Z\n",
            "01m90000000000000000000000 2027-01-01T00:00:00Z\n",
            True,
        ),
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
