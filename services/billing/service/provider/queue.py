"""Work at the provider, queued in the transaction that decides it."""

from __future__ import annotations

import json
from datetime import timedelta

from services.kernel.jobs import Job, enqueue
from services.kernel.transaction import Transaction

PUSH_JOB = "provider_push"
COLLECT_JOB = "provider_collect"
CLOSE_JOB = "provider_close"
CREDIT_JOB = "provider_credit"
WEBHOOK_JOB = "provider_webhook"
WEBHOOK_KEYS = (WEBHOOK_JOB, f"{WEBHOOK_JOB}:next")
OUTAGE_JOB = "provider_outage"
RECONCILE_JOB = "provider_reconcile"
SWEEP_JOB = "provider_sweep"

_AT_ONCE = timedelta(0)


async def _queue(
    tx: Transaction, job: str, subject: str, tenant_id: str | None, delay: timedelta
) -> None:
    owner = tenant_id or tx.tenant_id or ""
    # What goes on later must not be swallowed by the job that queues it, which still runs.
    key = None if delay else f"{job}:{owner}:{subject}"
    await enqueue(tx, job, _payload(owner, subject), tenant_id=owner, delay=delay, key=key)


def _payload(tenant_id: str, subject: str) -> bytes:
    return json.dumps({"tenant_id": tenant_id, "invoice_id": subject}).encode()


def subject_of(job: Job) -> tuple[str, str]:
    """Returns tenant and id of the invoice or credit note that a job is about."""
    payload = json.loads(job.payload)
    return payload["tenant_id"], payload["invoice_id"]


async def wake_inbox(tx: Transaction, tenant_id: str) -> None:
    """Queues a look at the inbox: beside one that runs, which may not see what is added now."""
    for key in WEBHOOK_KEYS:
        if await enqueue(tx, WEBHOOK_JOB, tenant_id=tenant_id, key=key) is not None:
            return


async def queue_push(
    tx: Transaction, invoice_id: str, *, tenant_id: str | None = None, delay: timedelta = _AT_ONCE
) -> None:
    """Sends a locked invoice to the provider, opens it, and collects where that is wanted."""
    await _queue(tx, PUSH_JOB, invoice_id, tenant_id, delay)


async def queue_collect(
    tx: Transaction, invoice_id: str, *, tenant_id: str | None = None, delay: timedelta = _AT_ONCE
) -> None:
    """Charges an invoice whose attempt is due or under way."""
    await _queue(tx, COLLECT_JOB, invoice_id, tenant_id, delay)


async def queue_close(
    tx: Transaction, invoice_id: str, *, tenant_id: str | None = None, delay: timedelta = _AT_ONCE
) -> None:
    """Tells the provider that an invoice is void here, or paid elsewhere."""
    await _queue(tx, CLOSE_JOB, invoice_id, tenant_id, delay)


async def queue_credit_note(
    tx: Transaction,
    credit_note_id: str,
    *,
    tenant_id: str | None = None,
    delay: timedelta = _AT_ONCE,
) -> None:
    """Makes an issued credit note at the provider, and refunds where it says so."""
    await _queue(tx, CREDIT_JOB, credit_note_id, tenant_id, delay)
