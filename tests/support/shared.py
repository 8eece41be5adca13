"""Real input for the tests, which lies beside the repository and is not part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_VARIABLE = "FINOPS_SHARED_DATA"
BESIDE = Path(__file__).parents[3] / "shared" / "data"


def shared_folder() -> Path:
    """Returns the folder of real input: FINOPS_SHARED_DATA, or `shared/data` by the repository."""
    configured = os.environ.get(SHARED_VARIABLE)
    return Path(configured) if configured else BESIDE


def shared_path(*parts: str) -> Path:
    """Returns a file or folder of the real input; skips the test when it is not there."""
    path = shared_folder().joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no real input {'/'.join(parts)}; name its folder in {SHARED_VARIABLE}")
    return path
