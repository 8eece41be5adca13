"""One stack for all tests of this folder; each file of input has a tenant of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import RunningStack, running_stack


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    with running_stack() as running:
        yield running
