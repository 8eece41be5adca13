"""Spend around a block of work: authorized before it, settled or released after it.

```python
with client.spend(subject, amount=Money(currency_code="USD", amount="0.50")) as spend:
    answer = call_model()
    spend.cost("0.0042")
```
The block begins only when every covering budget admits it. It ends with the cost it reported; a
block that fails before it reported one gives the hold back, and one that ends without a cost leaves
the hold to its usage event, or to expiry.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, Self, TypeVar

from finops.budget.v1.spend_messages_pb2 import (
    AuthorizeSpendRequest,
    ReleaseSpendRequest,
    SettleSpendRequest,
)
from finops.budget.v1.spend_model_pb2 import SpendAuthorization, SpendSubject
from finops.common.v1.money_pb2 import Money

if TYPE_CHECKING:  # a name of the stubs' types only
    from finops.budget.v1.budget_service_pb2_grpc import BudgetServiceAsyncStub

AUTHORIZATION_TAG: Final = "finops_authorization_id"
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Runner(Protocol):
    """What runs coroutines for code without asyncio."""

    def run(self, work: Coroutine[Any, Any, _R]) -> _R:
        """Runs a coroutine to its end and returns its result."""


class AsyncSpend:
    """One authorized block of asyncio code, or a decorator of coroutine functions.

    authorization: the decision, once the block has begun. Raises ApiError with RESOURCE_EXHAUSTED,
    its `violations` naming the budgets in the way, instead of beginning a block.
    """

    def __init__(self, budgets: BudgetServiceAsyncStub, request: AuthorizeSpendRequest) -> None:
        """request: as AuthorizeSpend takes it; each block asks anew."""
        self._budgets = budgets
        self._request = request
        self._cost: Money | None = None
        self.authorization = SpendAuthorization()

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags for the usage event of the work; with them it is never counted twice."""
        return {AUTHORIZATION_TAG: self.authorization.authorization_id}

    def cost(self, amount: Decimal | str, currency_code: str = "") -> None:
        """Says what the work cost, up to the call before the block ends. Default: the hold's."""
        code = currency_code or self.authorization.held.currency_code
        self._cost = Money(currency_code=code, amount=format(Decimal(amount), "f"))

    async def __aenter__(self) -> Self:
        answer = await self._budgets.AuthorizeSpend(self._request)
        self.authorization = answer.spend_authorization
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await end(self._budgets, self.authorization, self._cost, error)

    def anew(self) -> AsyncSpend:
        """Returns another block that asks the same."""
        return AsyncSpend(self._budgets, self._request)

    def __call__(self, function: Callable[_P, Awaitable[_R]]) -> Callable[_P, Awaitable[_R]]:
        """Makes every call of the function a block; one that takes `spend` gets it by that name."""

        @functools.wraps(function)
        async def called(*arguments: _P.args, **named: _P.kwargs) -> _R:
            async with self.anew() as spend:
                given: dict[str, Any] = _with_spend(function, named, spend)
                return await function(*arguments, **given)

        return called


class Spend:
    """One authorized block of code without asyncio, or a decorator; otherwise as AsyncSpend."""

    def __init__(self, runner: Runner, spend: AsyncSpend) -> None:
        """Takes the block to run, and what runs it."""
        self._runner = runner
        self._spend = spend

    @property
    def authorization(self) -> SpendAuthorization:
        """The decision, once the block has begun."""
        return self._spend.authorization

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags for the usage event of the work; with them it is never counted twice."""
        return self._spend.tags

    def cost(self, amount: Decimal | str, currency_code: str = "") -> None:
        """Says what the work cost. Default currency: the hold's."""
        self._spend.cost(amount, currency_code)

    def __enter__(self) -> Self:
        self._runner.run(self._spend.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.run(self._spend.__aexit__(kind, error, trace))

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Makes every call of the function a block; one that takes `spend` gets it by that name."""

        @functools.wraps(function)
        def called(*arguments: _P.args, **named: _P.kwargs) -> _R:
            with Spend(self._runner, self._spend.anew()) as spend:
                given: dict[str, Any] = _with_spend(function, named, spend)
                return function(*arguments, **given)

        return called


def asking(
    subject: SpendSubject,
    amount: Money | None,
    usage: Mapping[str, str] | None,
    usage_max: Mapping[str, str] | None,
    hold_for: timedelta | None,
) -> AuthorizeSpendRequest:
    """Returns the request of a block."""
    request = AuthorizeSpendRequest(subject=subject, usage=usage, usage_max=usage_max)
    if amount is not None:
        request.amount.CopyFrom(amount)
    if hold_for is not None:
        request.hold_duration.FromTimedelta(hold_for)
    return request


async def end(
    budgets: BudgetServiceAsyncStub,
    authorization: SpendAuthorization,
    cost: Money | None,
    error: BaseException | None,
) -> None:
    """Settles what was reported, even after a failure; else releases a failed block's hold."""
    if cost is not None:
        await budgets.SettleSpend(
            SettleSpendRequest(authorization_id=authorization.authorization_id, cost=cost)
        )
    elif error is not None:
        await budgets.ReleaseSpend(
            ReleaseSpendRequest(
                authorization_id=authorization.authorization_id, reason=type(error).__name__
            )
        )


def _with_spend(
    function: Callable[..., object], named: Mapping[str, Any], spend: object
) -> dict[str, Any]:
    code = getattr(function, "__code__", None)
    count = 0 if code is None else code.co_argcount + code.co_kwonlyargcount
    takes = code is not None and "spend" in code.co_varnames[:count]
    return {**named, "spend": spend} if takes else dict(named)
