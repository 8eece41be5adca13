"""How a question to another service is asked, and its refusal told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

import grpc
from finops.common.v1.money_pb2 import Money

from services.kernel.client import PeerUnavailable, on_behalf_of
from services.kernel.errors import InvalidArgument
from services.kernel.money import parse_decimal

# What the peer says of its moment, and not of the question.
PASSING: Final = (grpc.StatusCode.ABORTED, grpc.StatusCode.RESOURCE_EXHAUSTED)


@contextmanager
def asking(tenant_id: str, refusal: type[InvalidArgument]) -> Iterator[None]:
    """Acts for the tenant, and says in this service's words what a peer refused.

    What the peer may answer a moment later is no refusal: it raises PeerUnavailable.
    """
    with on_behalf_of(tenant_id):
        try:
            yield
        except grpc.aio.AioRpcError as error:
            if error.code() in PASSING:
                raise PeerUnavailable(error.details() or "", code=error.code().name) from error
            raise refusal(error.details() or "", code=error.code().name) from error


def to_amount(money: Money) -> Decimal:
    """Returns the amount of money, zero where it is absent."""
    return parse_decimal(money.amount or "0")
