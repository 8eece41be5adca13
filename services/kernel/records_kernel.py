"""What the kernel itself keeps in every service's schema."""

from __future__ import annotations

from typing import Final

from services.kernel.records import Collection, Form


def kernel_collections(service: str) -> tuple[Collection, ...]:
    """Returns the collections of tables that the kernel makes in a service's schema."""
    return (
        Collection(
            name=f"{service}.job",
            table="pgqueuer",
            tenant="headers ->> 'tenant'",
            description="Work that waits, runs or failed too often.",
            subjects={"payload": Form.PAYLOAD, "dedupe_key": Form.WORDS},
        ),
    )


KERNEL_EXEMPT: Final = {
    "audit_entry.actor": "a token; audit_subject says whose, and is erased",
    "audit_entry.before": "persons are tokens, as in actor",
    "audit_entry.after": "persons are tokens, as in actor",
    "audit_entry.resource": "persons are tokens, as in actor",
    "audit_subject.subject_id": "erased by kernel.audit_subjects with every erasure",
    "idempotent_response.response": "erased by kernel.records_answers with every erasure",
    "pgqueuer.headers": "the tenant and trace alone",
    "pgqueuer_log.traceback": "an error's class and code; deleted with its job's log",
    "record_hold.held_filters": "what the law holds is not erased; goes with the hold",
}
