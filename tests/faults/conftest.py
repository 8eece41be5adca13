"""One stack for all faults; each has a tenant of its own and a load on it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from services.kernel.ids import new_id
from tests.faults.load import Load, running_load
from tests.support.stack import RunningStack, running_stack


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    with running_stack() as running:
        yield running


@pytest.fixture
def is_full() -> bool:
    """Whether to do all the rounds: FINOPS_FAULTS=full; a few are enough for every day."""
    return os.environ.get("FINOPS_FAULTS") == "full"


@pytest.fixture
async def load(stack: RunningStack) -> AsyncIterator[Load]:
    async with running_load(stack, f"fault-{new_id()}") as running:
        yield running
