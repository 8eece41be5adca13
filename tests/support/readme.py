"""The commands of the README and the guides, as a reader would type them."""

from __future__ import annotations

import doctest
import re
from dataclasses import dataclass, replace
from pathlib import Path

_BLOCK = re.compile(r"^```console(?P<flags>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
# Blanks differ with the width of the terminal; `...` stands for any output.
_LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Amounts and counts of the demo, whose usage ends yesterday.
_FIGURE = re.compile(r"-?\d[\d,]*(\.\d+)?")
# Identifiers, instants and the rules of tables are of each run.
_OWN = (
    (re.compile(r"\b01[0-9a-hjkmnp-tv-z]{24}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<instant>"),
    (re.compile("─+"), "─"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a document and what it shows; line: where it stands.

    any_figures: whether numbers that are shown are those of one day, and others as good.
    """

    line: int
    text: str
    shown: str
    any_figures: bool = False

    def accepts(self, output: str) -> bool:
        """Says whether the output is what the document shows, which may be nothing at all."""
        if not self.shown.strip():
            return True
        checker = doctest.OutputChecker()
        return checker.check_output(
            self._general(self.shown), self._general(output.rstrip() + "\n"), _LOOSE
        )

    def _general(self, output: str) -> str:
        for pattern, name in _OWN:
            output = pattern.sub(name, output)
        return _FIGURE.sub("<figure>", output) if self.any_figures else output


def commands_of(path: Path) -> list[Command]:
    """Returns the commands of the `console` blocks that are to be run, in order."""
    text = path.read_text(encoding="utf-8")
    commands: list[Command] = []
    for block in _BLOCK.finditer(text):
        flags = block["flags"].split()
        if "no-run" in flags:
            continue
        first = text.count("\n", 0, block.start("body")) + 1
        found = _commands(block["body"], first)
        commands += [replace(each, any_figures="figures" in flags) for each in found]
    return commands


def _commands(body: str, first: int) -> list[Command]:
    commands: list[Command] = []
    lines = body.splitlines()
    for place, line in enumerate(lines):
        goes_on = line.startswith("> ") or lines[place - 1].endswith("\\")
        if goes_on and commands and not commands[-1].shown:
            last = commands[-1]
            text = f"{last.text}\n{line.removeprefix('> ')}"
            commands[-1] = Command(last.line, text, "")
        elif line.startswith("$ "):
            commands.append(Command(first + place, line[2:], ""))
        elif commands:
            last = commands[-1]
            commands[-1] = Command(last.line, last.text, f"{last.shown}{line}\n")
    return commands
