"""ListAuditEntries, VerifyAuditChain and GetComplianceReport over all services."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from services.kernel.client import PeerTimeout, PeerUnavailable
from services.kernel.clock import Clock
from services.kernel.filter import parse_order
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.reporting.domain import compliance_filter
from services.reporting.domain.compliance import (
    AccessSummary,
    AuditRecord,
    ChainResult,
    ChangeSummary,
    ComplianceReport,
    Tally,
    kind_of,
)
from services.reporting.domain.compliance_duties import DutyWatch, is_automatic
from services.reporting.domain.figures import quoted
from services.reporting.domain.forecast.steps import read_instant
from services.reporting.domain.report.span_of_time import last_full
from services.reporting.errors import ComplianceReportTooLarge, UnknownService
from services.reporting.service.compliance_peers import PAGE_MAX, AuditPeer, KeyReader
from services.reporting.service.peers import UsageReader

PATH: Final = "/api/v1/compliance/audit-entries"
ORDER: Final = "create_time"
RESOURCES_MAX: Final = 100  # that one line of a report names
ENTRIES_MAX: Final = 500_000  # that one report reads: some minutes, and little memory each
EXHAUSTED: Final = 0  # no sequence is below the first


@dataclass(frozen=True, slots=True)
class Instants:
    """Edges as callers write them; empty for what the list or report takes then."""

    start: str = ""
    end: str = ""


class Compliance:
    """Reads what all services keep of their changes."""

    def __init__(
        self,
        audits: Sequence[AuditPeer],
        keys: KeyReader,
        usage: UsageReader,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """audits: each service's log, this one's among them."""
        self._audits = {peer.service: peer for peer in audits}
        self._keys = keys
        self._usage = usage
        self._tokens = tokens
        self._clock = clock

    async def list_audit_entries(self, page: PageRequest) -> Page[AuditRecord]:
        """Returns a page of all services' entries in one order, by time.

        A token keeps each service's place, so that no entry comes twice or is left out, whatever
        is added meanwhile. Raises InvalidFilter, InvalidOrder, InvalidPageToken, PeerUnavailable.
        """
        (term,) = parse_order(page.order_by, (ORDER,), default=f"{ORDER} desc", tie_break=ORDER)
        now = self._clock.now()
        expression = compliance_filter.read(page.filter, now)
        edges = await self._edges(page)
        places = self._places(page)
        filters = {
            service: compliance_filter.for_service(expression, service)
            for service in self._audits
            if not (term.is_descending and places.get(service) == EXHAUSTED)
        }
        asked = {
            service: _asked(filter_, edges, places.get(service), is_down=term.is_descending)
            for service, filter_ in filters.items()
            if filter_ is not None
        }
        limit = min(page.limit + 1, PAGE_MAX)
        found = await asyncio.gather(
            *(
                self._audits[service].entries(
                    page.tenant_id,
                    filter_=filter_,
                    is_newest_first=term.is_descending,
                    limit=limit,
                )
                for service, filter_ in asked.items()
            )
        )
        lists = dict(zip(asked, found, strict=True))
        merged = _merged(lists, is_down=term.is_descending)[: page.limit]
        total = sum(map(len, lists.values()))
        if total <= page.limit and not any(len(each) == PAGE_MAX for each in lists.values()):
            return Page(merged)
        return Page(merged, self._token(page, merged, lists, is_down=term.is_descending))

    async def verify_audit_chain(
        self, tenant_id: str, services: Sequence[str]
    ) -> Sequence[ChainResult]:
        """Verifies the chains of the services named, default all.

        A service that does not answer is told as not reachable. Raises UnknownService.
        """
        unknown = sorted(set(services).difference(self._audits))
        if unknown:
            raise UnknownService(service=unknown[0], services=", ".join(sorted(self._audits)))
        chosen = services or sorted(self._audits)
        return await asyncio.gather(*(self._verified(name, tenant_id) for name in chosen))

    async def get_compliance_report(
        self, tenant_id: str, kind: str, instants: Instants
    ) -> ComplianceReport:
        """Returns who changed what in a period, default the last full quarter, with evidence.

        Raises InvalidPeriod, InvalidForecastInstant, PeerUnavailable, ComplianceReportTooLarge.
        """
        tenant = await self._usage.tenant(tenant_id)
        now = self._clock.now()
        quarter = last_full("quarter", now, tenant.tz)
        period = Period(
            read_instant(instants.start, tenant.tz) if instants.start else quarter.start,
            read_instant(instants.end, tenant.tz) if instants.end else quarter.end,
        )
        tallies: dict[tuple[str, str, str], Tally] = {}
        last_use: dict[str, datetime] = {}
        watch = DutyWatch()
        async for record in self._records(tenant_id, period):
            tally = tallies.setdefault((record.service, record.noun, record.actor), Tally())
            tally.count += 1
            if len(tally.resources) < RESOURCES_MAX:
                tally.resources[record.resource] = None
            last_use[record.actor] = max(
                last_use.get(record.actor, record.recorded_at), record.recorded_at
            )
            watch.add(record)
        return ComplianceReport(
            kind=kind,
            period=period,
            changes=tuple(_summary(key, tallies[key], period) for key in sorted(tallies)),
            exceptions=watch.exceptions(),
            chains=tuple(await self.verify_audit_chain(tenant_id, ())),
            access=await self._access(tenant_id, last_use),
            created_at=now,
        )

    async def _access(
        self, tenant_id: str, last_use: Mapping[str, datetime]
    ) -> tuple[AccessSummary, ...]:
        """Adds to the keys, whose roles are known here, who else made changes."""
        keys = {each.actor: each for each in await self._keys.keys(tenant_id)}
        persons = {actor for actor in last_use if not is_automatic(actor)}
        return tuple(
            replace(keys.get(actor, AccessSummary(actor, ())), last_use_at=last_use.get(actor))
            for actor in sorted(persons.union(keys))
        )

    async def _verified(self, service: str, tenant_id: str) -> ChainResult:
        try:
            return await self._audits[service].verify(tenant_id)
        except (PeerUnavailable, PeerTimeout) as error:
            return ChainResult(service=service, is_reachable=False, finding=error.message)

    async def _records(self, tenant_id: str, period: Period) -> AsyncIterator[AuditRecord]:
        """Yields all services' entries of a period, service by service."""
        read = 0
        for service in sorted(self._audits):
            after = EXHAUSTED
            while True:
                page = await self._audits[service].entries(
                    tenant_id,
                    filter_=f"{_within(period.start, period.end)} AND sequence > {after}",
                    is_newest_first=False,
                    limit=PAGE_MAX,
                )
                for record in page:
                    yield record
                read += len(page)
                if read > ENTRIES_MAX:
                    raise ComplianceReportTooLarge(entries_max=ENTRIES_MAX)
                if len(page) < PAGE_MAX:
                    break
                after = page[-1].sequence

    async def _edges(self, page: PageRequest) -> str:
        """Returns the page's own period as a filter, empty without one."""
        texts = {name: page.arguments.get(name, "") for name in ("start", "end")}
        if not any(texts.values()):
            return ""
        tz = (await self._usage.tenant(page.tenant_id)).tz
        start, end = (read_instant(text, tz) if text else None for text in texts.values())
        return _within(start, end)

    def _places(self, page: PageRequest) -> dict[str, int]:
        """Returns where each service's part of the page begins; none on the first page."""
        key = self._tokens.decode(page) or ()
        return {str(name): int(str(place)) for name, place in zip(key[::2], key[1::2], strict=True)}

    def _token(
        self,
        page: PageRequest,
        merged: Sequence[AuditRecord],
        lists: Mapping[str, Sequence[AuditRecord]],
        *,
        is_down: bool,
    ) -> str:
        """Returns the next page's token: per service the sequence that it goes on from.

        Downwards a service of which nothing was shown yet begins at the newest entry of now, and
        one that has no more is done: what is written later belongs to no page of this list.
        """
        places = self._places(page)
        for service, records in lists.items():
            if records:
                first = records[0].sequence
                places.setdefault(service, first + 1 if is_down else first - 1)
            elif is_down:
                places[service] = EXHAUSTED
        for record in merged:
            places[record.service] = record.sequence
        return self._tokens.encode(page, [part for item in places.items() for part in item])


def _asked(filter_: str, edges: str, place: int | None, *, is_down: bool) -> str:
    beyond = f"sequence {'<' if is_down else '>'} {place}" if place is not None else ""
    inner = f"({filter_})" if filter_ else ""
    return " AND ".join(part for part in (inner, edges, beyond) if part)


def _within(start: datetime | None, end: datetime | None) -> str:
    edges = ((">=", start), ("<", end))
    return " AND ".join(
        f'create_time {sign} "{edge.astimezone(UTC).isoformat()}"'
        for sign, edge in edges
        if edge is not None
    )


def _merged(lists: Mapping[str, Sequence[AuditRecord]], *, is_down: bool) -> Sequence[AuditRecord]:
    """Merges by time without taking a service's own entries out of their order."""

    def key(record: AuditRecord) -> tuple[datetime, str]:
        return record.recorded_at, record.service

    return list(heapq.merge(*lists.values(), key=key, reverse=is_down))


def _summary(key: tuple[str, str, str], tally: Tally, period: Period) -> ChangeSummary:
    service, noun, actor = key
    question = " AND ".join(
        (f"service = {quoted(service)}", f'action = "{noun}.*"', f"actor = {quoted(actor)}")
    )
    instants = {
        name: edge.astimezone(UTC).isoformat()
        for name, edge in (("start", period.start), ("end", period.end))
    }
    return ChangeSummary(
        service=service,
        resource_kind=kind_of(noun),
        actor=actor,
        change_count=tally.count,
        resources=tuple(tally.resources),
        query=f"{PATH}?{urlencode({'filter': question, **instants})}",
    )
