"""Performs a step at the provider exactly once, whatever crashes, breaks or repeats itself.

The row is committed before the request and updated after it. What happened in between is found out
by the same key, and where that cannot tell, by asking the provider what it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from services.billing.domain import operation as steps
from services.billing.domain.operation import Move, Operation, OperationState, Step
from services.billing.service.provider.port import (
    AnsweredBadly,
    Declined,
    KeyRejected,
    NoAnswer,
    ProviderFault,
    Refused,
    Throttled,
)
from services.billing.store import operations as rows
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.transaction import Transaction

log = structlog.get_logger(__name__)

Send = Callable[[str], Awaitable[str]]
Ask = Callable[[datetime], Awaitable[str | None]]


class StepWaits(Exception):
    """The outcome is not known yet; the same step is performed again after the delay."""

    def __init__(self, operation_key: str, delay: timedelta) -> None:
        """delay: from now."""
        super().__init__(operation_key)
        self.delay = delay


class StepRefused(Exception):
    """The provider does not do it; a person must look. text: why."""

    def __init__(self, operation_key: str, text: str, decline_code: str = "") -> None:
        """decline_code: the bank's, "" where the provider refused."""
        super().__init__(f"{operation_key}: {text}")
        self.operation_key = operation_key
        self.text = text
        self.decline_code = decline_code


class Steps:
    """The durable step log."""

    def __init__(self, database: Database, *, clock: Clock, reads_back: bool = True) -> None:
        """reads_back: False only for the test that shows what happens without."""
        self._database = database
        self._clock = clock
        self._reads_back = reads_back

    async def begin(
        self,
        tx: Transaction,
        operation_key: str,
        step: Step,
        *,
        provider: str,
        request: str,
        invoice_id: str = "",
    ) -> tuple[Operation, bool]:
        """Writes a step of the transaction's tenant down; returns it, and whether it is new."""
        tenant_id = str(tx.tenant_id)
        operation = steps.begin(
            *(tenant_id, operation_key, step),
            request_hash=_digest(request),
            provider=provider,
            now=self._clock.now(),
            invoice_id=invoice_id,
        )
        if await rows.add(tx, tenant_id, operation):
            return operation, True
        return await rows.find(tx, tenant_id, operation_key) or operation, False

    async def perform(
        self,
        tenant_id: str,
        operation_key: str,
        step: Step,
        *,
        provider: str,
        request: str,
        send: Send,
        ask: Ask,
        invoice_id: str = "",
    ) -> str:
        """Returns the provider's id of what was made, now or at an earlier try.

        request: what is sent, as text; another one under the same key is refused.
        send: takes the idempotency key. ask: takes when it was first sent, and returns the id of
        what is there, None when nothing is. Raises StepWaits, StepRefused.
        """
        async with self._database.transaction(tenant_id) as tx:
            operation, is_new = await self.begin(
                *(tx, operation_key, step),
                provider=provider,
                request=request,
                invoice_id=invoice_id,
            )
        if operation.request_hash != _digest(request):
            raise StepRefused(operation_key, "the request is not the one that was begun")
        if operation.state is OperationState.SUCCEEDED:
            return operation.provider_object_id
        if operation.state is OperationState.FAILED:
            raise StepRefused(operation_key, operation.error)
        move = steps.next_move(operation, is_new=is_new, now=self._clock.now())
        if move is Move.ASK:
            found, operation = await self._asked(tenant_id, operation, ask)
            if found is not None:
                return found
        return await self._sent(tenant_id, operation, send, ask)

    async def _sent(self, tenant_id: str, operation: Operation, send: Send, ask: Ask) -> str:
        try:
            found = await send(operation.idempotency_key)
        except (NoAnswer, Throttled) as fault:
            after = steps.unanswered(operation, str(fault), now=self._clock.now())
            raise await self._waits(tenant_id, after) from fault
        except AnsweredBadly as fault:
            after = self._bad(operation, fault)
            raise await self._waits(tenant_id, after) from fault
        except (Refused, Declined, KeyRejected) as fault:
            return await self._refused(tenant_id, operation, fault, ask)
        await self._save(tenant_id, steps.succeeded(operation, found))
        return found

    async def _refused(
        self, tenant_id: str, operation: Operation, fault: ProviderFault, ask: Ask
    ) -> str:
        """Asks once before believing a no: it may say that the step was done before."""
        if isinstance(fault, KeyRejected):
            after = self._bad(operation, fault)
            raise await self._waits(tenant_id, after) from fault
        if not isinstance(fault, Declined):
            bad = self._bad(operation, fault)
            await self._save(tenant_id, bad)
            found = await self._there(tenant_id, bad, ask)
            if found is not None:
                return found
        after = steps.failed(
            operation, str(fault), http_status=fault.http_status, request_id=fault.request_id
        )
        await self._save(tenant_id, after)
        code = fault.decline_code if isinstance(fault, Declined) else ""
        raise StepRefused(operation.operation_key, str(fault), code) from fault

    async def _asked(
        self, tenant_id: str, operation: Operation, ask: Ask
    ) -> tuple[str | None, Operation]:
        if self._reads_back:
            found = await self._there(tenant_id, operation, ask)
            if found is not None:
                return found, operation
        if operation.attempt >= steps.ATTEMPTS_MAX:
            text = f"given up after {operation.attempt} attempts: {operation.error}"
            after = steps.failed(operation, text, http_status=operation.http_status, request_id="")
            await self._save(tenant_id, after)
            raise StepRefused(operation.operation_key, text)
        after = steps.next_attempt(tenant_id, operation, now=self._clock.now())
        await self._save(tenant_id, after)
        return None, after

    async def _there(self, tenant_id: str, operation: Operation, ask: Ask) -> str | None:
        try:
            found = await ask(operation.first_sent_at)
        except ProviderFault as fault:
            after = self._bad(operation, fault)
            raise await self._waits(tenant_id, after) from fault
        if found is not None:
            log.info("step adopted", operation_key=operation.operation_key)
            await self._save(tenant_id, steps.succeeded(operation, found))
        return found

    def _bad(self, operation: Operation, fault: ProviderFault) -> Operation:
        return steps.answered_badly(
            operation,
            str(fault),
            http_status=fault.http_status,
            request_id=fault.request_id,
            now=self._clock.now(),
        )

    async def _waits(self, tenant_id: str, operation: Operation) -> StepWaits:
        await self._save(tenant_id, operation)
        log.warning("step waits", operation_key=operation.operation_key, error=operation.error)
        until = operation.next_attempt_at or self._clock.now()
        return StepWaits(operation.operation_key, max(until - self._clock.now(), timedelta(0)))

    async def _save(self, tenant_id: str, operation: Operation) -> None:
        async with self._database.transaction(tenant_id) as tx:
            await rows.save(tx, tenant_id, operation, self._clock.now())


def _digest(request: str) -> str:
    return hashlib.sha256(request.encode()).hexdigest()
