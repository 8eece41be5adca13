"""The Makefile's targets end, and none of them calls make again."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ("help", "setup", "protos", "run", "test", "check", "bench", "clean")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make on the PATH")


def test_no_target_calls_make_again() -> None:
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert not re.search(r"\$[({]MAKE[)}]|^\t[@+-]*make\s", recipes, re.MULTILINE)


@needs_make
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_can_be_planned(target: str) -> None:
    planned = subprocess.run(
        ["make", "--dry-run", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert planned.returncode == 0, planned.stderr
    assert "Circular" not in planned.stderr
