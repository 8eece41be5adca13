"""Record collections, retention policies and legal holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.filter import evaluate, parse_filter, parse_order
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.reporting.domain.retention import LegalHold, RecordCollection, RetentionPolicy
from services.reporting.errors import (
    LegalHoldNotFound,
    LegalHoldReleased,
    RemovalUnderWay,
    RetentionDaysTooFew,
    RetentionPolicyChanged,
    RetentionPolicyExists,
    RetentionPolicyNotFound,
)
from services.reporting.service.retention_collections import Collections
from services.reporting.service.retention_holds import HoldSharing, queue_sharing
from services.reporting.service.subjects import Subjects
from services.reporting.store import retention as rows
from services.reporting.store import subjects as subject_rows

ORDER: Final = "collection"
Change = Callable[[RetentionPolicy], RetentionPolicy]


class Retention:
    """Keeps policies and legal holds."""

    def __init__(
        self,
        database: Database,
        collections: Collections,
        subjects: Subjects,
        sharing: HoldSharing,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """subjects: knows whether an erasure is about the person of a hold."""
        self._database = database
        self._collections = collections
        self._subjects = subjects
        self._sharing = sharing
        self._tokens = tokens
        self._clock = clock

    async def list_record_collections(self, page: PageRequest) -> Page[RecordCollection]:
        """Returns a page of the services' collections.

        Raises InvalidFilter, InvalidOrder, InvalidPageToken, PeerUnavailable.
        """
        (term,) = parse_order(page.order_by, (ORDER,), default=ORDER, tie_break=ORDER)
        expression = parse_filter(page.filter)
        evaluate(expression, {"collection": "", "service": "", "personal": False})
        last = self._tokens.decode(page)
        known = await self._collections.all(page.tenant_id)
        names = sorted(known, reverse=term.is_descending)
        found = [
            known[name]
            for name in names
            if evaluate(
                expression,
                {
                    "collection": name,
                    "service": known[name].service,
                    "personal": known[name].personal,
                },
            )
            and (last is None or (name < last[0] if term.is_descending else name > last[0]))  # type: ignore[operator] # a text
        ]
        return self._tokens.page(page, found[: page.limit + 1], lambda each: [each.collection])

    async def create_retention_policy(
        self, tenant_id: str, *, collection: str, retention_days: int, filter_: str
    ) -> RetentionPolicy:
        """Stores a policy under a new id.

        Raises UnknownCollection, RetentionDaysTooFew, RetentionPolicyExists, InvalidFilter.
        """
        now = self._clock.now()
        policy = RetentionPolicy(
            tenant_id=tenant_id,
            policy_id=new_id(),
            collection=collection,
            retention_days=retention_days,
            filter=filter_.strip(),
            created_at=now,
            updated_at=now,
        )
        await self._check(policy)
        async with self._database.transaction(tenant_id) as tx:
            await _require_only(tx, policy)
            await rows.add_policy(tx, policy)
            await _audited(tx, "create", None, policy)
        return policy

    async def get_retention_policy(self, tenant_id: str, policy_id: str) -> RetentionPolicy:
        """Returns a policy. Raises RetentionPolicyNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await _policy(tx, tenant_id, policy_id)

    async def list_retention_policies(self, page: PageRequest) -> Page[RetentionPolicy]:
        """Returns a page of policies."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.page_policies(tx, page, self._tokens)

    async def update_retention_policy(
        self, tenant_id: str, policy_id: str, change: Change, *, etag: str
    ) -> RetentionPolicy:
        """Changes a policy. etag: as it was read, "" for any.

        Raises RetentionPolicyNotFound, RetentionPolicyChanged, and as create_retention_policy.
        """
        known = await self.get_retention_policy(tenant_id, policy_id)
        await self._check(change(known))
        async with self._database.transaction(tenant_id) as tx:
            before = await _policy(tx, tenant_id, policy_id, is_locked=True)
            _require_etag(before, etag)
            if before.version != known.version:
                raise RetentionPolicyChanged(policy_id=policy_id, etag=before.etag)
            changed = change(before)
            after = replace(changed, version=before.version + 1, updated_at=self._clock.now())
            await _require_only(tx, after)
            await rows.save_policy(tx, after)
            await _audited(tx, "update", before, after)
        return after

    async def delete_retention_policy(self, tenant_id: str, policy_id: str, etag: str) -> None:
        """Deletes a policy. Raises RetentionPolicyNotFound, RetentionPolicyChanged."""
        async with self._database.transaction(tenant_id) as tx:
            before = await _policy(tx, tenant_id, policy_id, is_locked=True)
            _require_etag(before, etag)
            await rows.remove_policy(tx, tenant_id, policy_id)
            await _audited(tx, "delete", before, None)

    async def create_legal_hold(self, given: LegalHold) -> LegalHold:
        """Stores a hold, in force from this transaction on: no removal starts past it.

        Every service has it before it exists, so that none is stored that a nightly removal does
        not know; where one is away there is no hold, and the caller tries again.
        Raises UnknownCollection, InvalidFilter, RemovalUnderWay, PeerUnavailable.
        """
        tenant_id = given.tenant_id
        parse_filter(given.filter)
        if given.collections:
            await self._collections.required(tenant_id, given.collections)
        hold = replace(
            given,
            legal_hold_id=new_id(),
            author=current_caller().subject,
            created_at=self._clock.now(),
        )
        async with self._database.read(tenant_id) as tx:
            if await rows.removing(tx, tenant_id, hold.collections):
                raise RemovalUnderWay
        await self._sharing.share(tenant_id, [hold])
        async with self._database.transaction(tenant_id) as tx:
            await subject_rows.lock_holds(tx, tenant_id)
            await self._require_quiet(tx, hold)
            await rows.add_hold(tx, hold)
            await queue_sharing(tx, tenant_id)
            await audit.append(
                tx,
                action="legal_holds.create",
                resource=hold.resource,
                after={
                    "display_name": hold.display_name,
                    "collections": list(hold.collections),
                    # Of the person only that there is one: entries stay when persons go.
                    "is_about_a_person": bool(hold.subject_id),
                    "filter_hash": hashlib.sha256(hold.filter.encode()).hexdigest(),
                },
            )
        return hold

    async def list_legal_holds(self, page: PageRequest) -> Page[LegalHold]:
        """Returns a page of holds, those that have ended too."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.page_holds(tx, page, self._tokens)

    async def release_legal_hold(
        self, tenant_id: str, legal_hold_id: str, reason: str
    ) -> LegalHold:
        """Ends a hold. Raises LegalHoldNotFound, LegalHoldReleased."""
        async with self._database.transaction(tenant_id) as tx:
            hold = await rows.find_hold(tx, tenant_id, legal_hold_id, is_locked=True)
            if hold is None:
                raise LegalHoldNotFound(legal_hold_id=legal_hold_id)
            if hold.released:
                raise LegalHoldReleased(legal_hold_id=legal_hold_id)
            ended = replace(hold, released_at=self._clock.now(), release_reason=reason)
            await rows.release_hold(tx, ended)
            await queue_sharing(tx, tenant_id)
            await audit.append(
                tx,
                action="legal_holds.release",
                resource=hold.resource,
                # Of what people write only that it is the same: entries stay when persons go.
                after={"reason_hash": hashlib.sha256(reason.encode()).hexdigest()},
            )
        return ended

    async def _require_quiet(self, tx: Transaction, hold: LegalHold) -> None:
        """Refuses a hold while a service may be removing what it would keep."""
        is_busy = await rows.removing(tx, hold.tenant_id, hold.collections)
        erasing = await subject_rows.erasing(tx, hold.tenant_id)
        if erasing and hold.subject_id:
            pseudonym = await self._subjects.pseudonym(tx, hold.tenant_id, hold.subject_id)
            erasing = [case for case in erasing if case.pseudonym == pseudonym]
        if is_busy or erasing:
            raise RemovalUnderWay

    async def _check(self, policy: RetentionPolicy) -> None:
        parse_filter(policy.filter)
        (found,) = await self._collections.required(policy.tenant_id, [policy.collection])
        if policy.retention_days < found.retention_days_min:
            raise RetentionDaysTooFew(
                collection=policy.collection,
                retention_days=policy.retention_days,
                retention_days_min=found.retention_days_min,
            )


async def _policy(
    tx: Transaction, tenant_id: str, policy_id: str, *, is_locked: bool = False
) -> RetentionPolicy:
    found = await rows.find_policy(tx, tenant_id, policy_id, is_locked=is_locked)
    if found is None:
        raise RetentionPolicyNotFound(policy_id=policy_id)
    return found


def _require_etag(policy: RetentionPolicy, etag: str) -> None:
    if etag and etag != policy.etag:
        raise RetentionPolicyChanged(policy_id=policy.policy_id, etag=policy.etag)


async def _require_only(tx: Transaction, policy: RetentionPolicy) -> None:
    other = await rows.same_policy(tx, policy)
    if other is not None:
        raise RetentionPolicyExists(collection=policy.collection, policy_id=other)


async def _audited(
    tx: Transaction,
    verb: str,
    before: RetentionPolicy | None,
    after: RetentionPolicy | None,
) -> None:
    policy = after or before
    if policy is None:
        raise ValueError("a change has a state before or after it")
    await audit.append(
        tx,
        action=f"retention_policies.{verb}",
        resource=policy.resource,
        before=_state(before),
        after=_state(after),
    )


def _state(policy: RetentionPolicy | None) -> dict[str, object] | None:
    if policy is None:
        return None
    return {
        "collection": policy.collection,
        "retention_days": policy.retention_days,
        # A filter may name a person, and entries stay when persons go.
        "filter_hash": hashlib.sha256(policy.filter.encode()).hexdigest(),
    }
