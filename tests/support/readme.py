"""The README's commands, as a reader would type them."""

from __future__ import annotations

import doctest
import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console(?P<flags>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
# Blanks differ with the width of the terminal; `...` stands for any output.
_LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a README and what it shows; line: where it stands."""

    line: int
    text: str
    shown: str

    def accepts(self, output: str) -> bool:
        """Says whether the output is what the README shows, which may be nothing at all."""
        if not self.shown.strip():
            return True
        checker = doctest.OutputChecker()
        return checker.check_output(self.shown, output.rstrip() + "\n", _LOOSE)


def commands_of(path: Path) -> list[Command]:
    """Returns the commands of the `console` blocks that are to be run, in order."""
    text = path.read_text(encoding="utf-8")
    commands: list[Command] = []
    for block in _BLOCK.finditer(text):
        if "no-run" in block["flags"].split():
            continue
        first = text.count("\n", 0, block.start("body")) + 1
        commands += _commands(block["body"], first)
    return commands


def _commands(body: str, first: int) -> list[Command]:
    commands: list[Command] = []
    is_continued = False
    for number, line in enumerate(body.splitlines(), start=first):
        if is_continued:
            last = commands[-1]
            text = f"{last.text}\n{line.removeprefix('> ')}"
            commands[-1] = Command(last.line, text, "")
        elif line.startswith("$ "):
            commands.append(Command(number, line[2:], ""))
        elif commands:
            last = commands[-1]
            commands[-1] = Command(last.line, last.text, f"{last.shown}{line}\n")
        is_continued = bool(commands) and not commands[-1].shown and line.endswith("\\")
    return commands
