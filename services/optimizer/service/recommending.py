"""Shows recommendations and takes decisions about them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.exchange import ExchangeRates
from services.kernel.feed import EncodedFeed
from services.kernel.feed_page import FeedPosition
from services.kernel.jobs import enqueue
from services.kernel.money import EXACT
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.optimizer.domain.finding import Estimate, Part, rounded
from services.optimizer.domain.lifecycle import (
    DONE,
    OPEN,
    Decision,
    Recommendation,
    State,
    StateChange,
    decide,
)
from services.optimizer.domain.portfolio import joint_saving, overlaps
from services.optimizer.domain.savings import Measurement, advice_of
from services.optimizer.errors import RecommendationNotFound, StaleRecommendation
from services.optimizer.service.tenants import TenantProfiles
from services.optimizer.store import measurements
from services.optimizer.store import recommendations as rows

MEASURE_JOB = "measure"
FIRST_MEASURE = timedelta(days=15)
JOINT_MAX = 1000  # recommendations that one answer adds up
EVERY_TENANT = "*"
NOW = "now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A recommendation as it is shown. history: only of one that is asked for alone."""

    recommendation: Recommendation
    measurement: Measurement | None = None
    overlapping: tuple[str, ...] = ()
    history: tuple[StateChange, ...] = ()


class ShownPage(NamedTuple):
    """A page of recommendations, and what all that match save together."""

    page: Page[Shown]
    joint: Estimate
    currency_code: str


class Watched(NamedTuple):
    """One change with the recommendation after it, or a heartbeat without both."""

    position: FeedPosition
    recommendation: Recommendation | None = None
    change: StateChange | None = None


class Recommendations:
    """The use cases of recommendations."""

    def __init__(
        self,
        database: Database,
        profiles: TenantProfiles,
        *,
        feed: EncodedFeed,
        rates: ExchangeRates,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """rates: to show amounts in another currency."""
        self._database = database
        self._profiles = profiles
        self._feed = feed
        self._rates = rates
        self._tokens = tokens
        self._clock = clock

    async def list_recommendations(self, page: PageRequest, currency: str) -> ShownPage:
        """Returns a page in one currency. Raises InvalidFilter, InvalidOrder, MissingRate."""
        code = await self.currency(page.tenant_id, currency)
        now = self._clock.now()
        async with self._database.read(page.tenant_id) as tx:
            found = await rows.list_page(tx, page, self._tokens, now=now)
            everything = await rows.matching(
                tx, page.tenant_id, page.filter, now=now, limit=JOINT_MAX
            )
            ids = [one.recommendation_id for one in found.items]
            newest = await measurements.newest(tx, page.tenant_id, ids)
        others = overlaps([advice_of(one) for one in everything if one.state in OPEN])
        convert = self.converter(code)
        shown = [
            Shown(
                recommendation=convert(one),
                measurement=newest.get(one.recommendation_id),
                overlapping=tuple(others.get(one.recommendation_id, ())[:JOINT_MAX]),
            )
            for one in found.items
        ]
        joint = joint_saving([advice_of(convert(one)) for one in everything if one.state in OPEN])
        return ShownPage(Page(shown, found.next_page_token), joint.saving, code)

    async def get_recommendation(self, tenant_id: str, recommendation_id: str) -> Shown:
        """Returns one with its history. Raises RecommendationNotFound."""
        async with self._database.read(tenant_id) as tx:
            found = (await rows.by_ids(tx, tenant_id, [recommendation_id])).get(recommendation_id)
            if found is None:
                raise RecommendationNotFound(recommendation_id=recommendation_id)
            newest = await measurements.newest(tx, tenant_id, [recommendation_id])
            history = await rows.events_of(tx, tenant_id, recommendation_id)
            others = await rows.matching(tx, tenant_id, "", now=self._clock.now(), limit=JOINT_MAX)
        open_ones = [advice_of(one) for one in others if one.state in OPEN]
        if found.state not in OPEN:
            open_ones.append(advice_of(found))
        return Shown(
            recommendation=found,
            measurement=newest.get(recommendation_id),
            overlapping=tuple(overlaps(open_ones).get(recommendation_id, ())),
            history=tuple(history),
        )

    async def update_recommendation(
        self, tenant_id: str, recommendation_id: str, decision: Decision
    ) -> Shown:
        """Takes a decision about a recommendation.

        Raises RecommendationNotFound, StaleRecommendation, TransitionNotAllowed,
        DismissalReasonRequired.
        """
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            found = await rows.by_ids(tx, tenant_id, [recommendation_id], is_locked=True)
            known = found.get(recommendation_id)
            if known is None:
                raise RecommendationNotFound(recommendation_id=recommendation_id)
            if decision.etag and decision.etag != known.etag:
                raise StaleRecommendation(etag=known.etag)
            changed = decide(known, decision, now=now)
            await rows.save(tx, changed)
            change = StateChange(
                before=known.state,
                after=changed.state,
                actor=current_caller().subject,
                note=decision.note,
                at=now,
            )
            await rows.append_event(tx, self._feed, changed, change)
            await audit.append(
                tx,
                action="recommendations.update",
                resource=f"recommendations/{recommendation_id}",
                before=_state(known),
                after=_state(changed),
            )
            if changed.state in DONE and known.state not in DONE and changed.completed_at:
                wait = changed.completed_at + FIRST_MEASURE - now
                await enqueue(
                    tx,
                    MEASURE_JOB,
                    recommendation_id.encode(),
                    delay=max(wait, timedelta(0)),
                    key=f"measure/{recommendation_id}",
                )
        return await self.get_recommendation(tenant_id, recommendation_id)

    async def watch_recommendations(self, tenant_id: str, after: str) -> AsyncIterator[Watched]:
        """Yields changes for ever. tenant_id: `*` for all. Raises InvalidFeedPosition."""
        owner = None if tenant_id == EVERY_TENANT else tenant_id
        position = await self._horizon() if after == NOW else FeedPosition.parse(after)
        pages = self._feed.watch(after=position, tenant_id=owner)
        try:
            async for page in pages:
                for item in page.items:
                    recommendation_id, change = rows.decode_event(item.fact.payload)
                    async with self._database.read(item.tenant_id) as tx:
                        found = await rows.by_ids(tx, item.tenant_id, [recommendation_id])
                    yield Watched(item.position, found.get(recommendation_id), change)
                if not page.items:
                    yield Watched(page.position)
        finally:
            await pages.aclose()

    async def _horizon(self) -> FeedPosition:
        async with self._database.system_transaction() as tx:
            text = await tx.driver.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        return FeedPosition(int(text), 0)

    async def currency(self, tenant_id: str, named: str) -> str:
        """Returns the currency to show amounts in: the one named, else the tenant's."""
        return named or (await self._profiles.get(tenant_id)).currency_code

    def converter(self, code: str) -> Callable[[Recommendation], Recommendation]:
        """Returns what shows a recommendation in a currency, by the rate of its last usage day.

        Raises MissingRate when it is used.
        """

        def convert(one: Recommendation) -> Recommendation:
            finding = one.finding
            if finding.currency_code == code:
                return one
            day = (one.period.end - timedelta(seconds=1)).date()
            factor = self._rates.last_known(finding.currency_code, code, day).rate
            parts = [
                Part(part.series_id, rounded(EXACT.multiply(part.monthly_cost, factor)))
                for part in finding.parts
            ]
            paid = finding.one_time_cost
            return replace(
                one,
                finding=replace(
                    finding,
                    currency_code=code,
                    saving=finding.saving.scaled(factor),
                    parts=parts,
                    one_time_cost=None if paid is None else rounded(paid * factor),
                ),
            )

        return convert


def _state(one: Recommendation) -> dict[str, object]:
    return {
        "state": one.state.name,
        "owner": one.owner,
        "notes": one.notes,
        "snoozed_until": one.snoozed_until,
        "dismissal_reason": one.dismissal_reason.name,
        "completed_at": one.completed_at,
        "monthly_saving": one.finding.saving.expected,
        "is_open": one.state in OPEN and one.state is not State.DISMISSED,
        "confidence": Decimal(one.finding.confidence),
    }
