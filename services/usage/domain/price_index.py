"""Finds the price that applies to a usage at an instant."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from services.kernel.period import Granularity, floor, zone
from services.usage.domain.event import Attributes
from services.usage.domain.peak import SLOT_MINUTES, PeakSchedule
from services.usage.domain.price import (
    BEGINNING,
    NEVER,
    InvalidPrice,
    Price,
    match_key,
    require_no_overlap,
)
from services.usage.domain.rate_plan import MeterRate, RatePlan

PATTERNS_KEPT = 10_000  # every meter of a model has the model's pattern
_ONE = Decimal(1)
_EXACT_RESOURCE = 1 << 20  # above the number of characters any pattern can have


class _Entry(NamedTuple):
    price: Price
    schedule: PeakSchedule | None

    def multiplier_at(self, instant: datetime) -> Decimal:
        return _ONE if self.schedule is None else self.schedule.multiplier_at(instant)


class _Subject(NamedTuple):
    """What prices are compared with, in lower case."""

    provider: str
    service: str
    region: str
    resource_id: str


# How specific a match is; more is better: attributes named, then the resource (characters of a
# pattern, or exact), then service, region, provider.
_Rank = tuple[int, int, bool, bool, bool]


def _rank(match: _Subject, *, resource: int) -> _Rank:
    return (
        sum(1 for text in match if text),
        resource,
        bool(match.service),
        bool(match.region),
        bool(match.provider),
    )


class _Pattern(NamedTuple):
    match: _Subject
    regex: re.Pattern[str]
    rank: _Rank
    entries: tuple[_Entry, ...]


@lru_cache(maxsize=PATTERNS_KEPT)
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


class _Group:
    """The prices of one resource type and meter."""

    __slots__ = ("_exact", "_masks", "_patterns")

    def __init__(self, entries: Iterable[_Entry]) -> None:
        exact: dict[_Subject, list[_Entry]] = {}
        patterns: dict[_Subject, list[_Entry]] = {}
        for entry in entries:
            match = _Subject(*match_key(entry.price)[2:])
            target = patterns if entry.price.has_pattern else exact
            target.setdefault(match, []).append(entry)
        self._exact = {match: tuple(found) for match, found in exact.items()}
        self._masks = {tuple(bool(text) for text in match) for match in exact}
        self._patterns: dict[str, list[_Pattern]] = {}
        for match, found in patterns.items():
            regex = _regex(match.resource_id)
            literal = len(re.sub(r"[*?]", "", re.sub(r"\[.[^]]*\]", "c", match.resource_id)))
            pattern = _Pattern(match, regex, _rank(match, resource=literal), tuple(found))
            self._patterns.setdefault(match.provider, []).append(pattern)

    def matches(self, subject: _Subject) -> Iterator[tuple[_Rank, tuple[_Entry, ...]]]:
        """Yields every set of prices that fits, with how specific it is."""
        for mask in self._masks:
            key = _Subject(
                *(text if is_named else "" for text, is_named in zip(subject, mask, strict=True))
            )
            found = self._exact.get(key)
            # An empty attribute equals "any" as a key; then the mask without it has it already.
            if found is not None and tuple(bool(text) for text in key) == mask:
                yield _rank(key, resource=_EXACT_RESOURCE if key.resource_id else 0), found
        for provider in {"", subject.provider}:
            for match, regex, rank, found in self._patterns.get(provider, ()):
                is_there = match.service in ("", subject.service) and match.region in (
                    "",
                    subject.region,
                )
                if is_there and regex.match(subject.resource_id):
                    yield rank, found


_Layer = dict[tuple[str, str], _Group]


class PriceIndex:
    """Immutable lookup of the prices that one tenant sees: its own and the global ones.

    A tenant's own price comes before any global one, so that a negotiated price is never hidden by
    a more detailed public one. Among them the most specific wins: more of provider, service,
    region and resource_id named; then an exact resource before a pattern, a longer pattern before
    a shorter; then service, region, provider in that order. Between books that say the same, the
    price that holds since later wins, then the one recorded later.
    """

    def __init__(
        self,
        prices: Iterable[Price],
        schedules: Iterable[PeakSchedule] = (),
        *,
        base: PriceIndex | None = None,
        as_of: datetime | None = None,
    ) -> None:
        """Indexes the prices known at `as_of` (None: now), over those of a shared global index.

        Raises PriceOverlap, and InvalidPrice where a schedule is missing or the prices belong to
        two tenants.
        """
        known = [price for price in prices if price.is_known(as_of)]
        if as_of is None:
            require_no_overlap(known)
        self._base = base
        self._schedules = {schedule.peak_schedule_id: schedule for schedule in schedules}
        tenants = {price.tenant_id for price in known} - {""}
        if len(tenants) > 1:
            raise InvalidPrice("an index holds the prices of one tenant and the global ones")
        self._by_id = {price.price_id: price for price in known}
        own = self._layer([price for price in known if price.tenant_id])
        shared = self._layer([price for price in known if not price.tenant_id])
        self._tenant_layers: tuple[_Layer, ...] = (own,)
        self._global_layers: tuple[_Layer, ...] = (shared,)
        if base is not None:
            self._tenant_layers += base._tenant_layers  # noqa: SLF001 -- the same class
            self._global_layers += base._global_layers  # noqa: SLF001 -- the same class

    def price(self, price_id: str) -> Price | None:
        """Returns the price with this id, or None."""
        found = self._by_id.get(price_id)
        return self._base.price(price_id) if found is None and self._base is not None else found

    def plan(self, attributes: Attributes, meters: Sequence[str], at: datetime) -> RatePlan:
        """Resolves the prices of some meters at an aware instant.

        attributes.currency_code: only prices in that currency match; where it is "", the first
        meter with a price decides, since one event has one currency.
        About 20 us, and 0.3 us for each pattern of the same provider and meter: keep the plan
        and use it while `valid_from <= at < valid_until`.
        """
        subject = _Subject(
            attributes.provider.lower(),
            attributes.service.lower(),
            attributes.region.lower(),
            attributes.resource_id.lower(),
        )
        instant = at.astimezone(UTC)
        currency_code = attributes.currency_code
        validity = _Validity(instant)
        rates = []
        for meter in meters:
            key = (attributes.resource_type, meter)
            own = _best(self._tenant_layers, key, subject, currency_code, validity)
            public = _best(self._global_layers, key, subject, currency_code, validity)
            chosen = own or public
            if chosen is None:
                rates.append(MeterRate(meter, None, _ONE, None, _ONE))
                continue
            currency_code = currency_code or chosen.price.currency_code
            listed = _list_entry(chosen, public)
            validity.narrow_to(chosen)
            validity.narrow_to(listed)
            rates.append(
                MeterRate(
                    meter,
                    chosen.price,
                    chosen.multiplier_at(instant),
                    listed.price,
                    listed.multiplier_at(instant),
                )
            )
        return RatePlan(
            tuple(rates),
            currency_code=currency_code,
            valid_from=validity.since,
            valid_until=validity.until,
        )

    def _schedule(self, peak_schedule_id: str) -> PeakSchedule | None:
        found = self._schedules.get(peak_schedule_id)
        if found is None and self._base is not None:
            return self._base._schedule(peak_schedule_id)  # noqa: SLF001 -- the same class
        return found

    def _layer(self, prices: Sequence[Price]) -> _Layer:
        entries: dict[tuple[str, str], list[_Entry]] = {}
        for price in prices:
            schedule = self._schedule(price.peak_schedule_id)
            if price.peak_schedule_id and schedule is None:
                raise InvalidPrice(
                    "a price names a peak schedule that does not exist",
                    price_id=price.price_id,
                    peak_schedule_id=price.peak_schedule_id,
                )
            key = (price.resource_type, price.meter)
            entries.setdefault(key, []).append(_Entry(price, schedule))
        return {key: _Group(found) for key, found in entries.items()}


class _Validity:
    """The stretch of time around an instant in which nothing changes."""

    __slots__ = ("instant", "since", "until")

    def __init__(self, instant: datetime) -> None:
        self.instant = instant
        self.since = BEGINNING
        self.until = NEVER

    def cut(self, edge: datetime) -> None:
        if edge <= self.instant:
            self.since = max(self.since, edge)
        else:
            self.until = min(self.until, edge)

    def narrow_to(self, entry: _Entry) -> None:
        if entry.schedule is not None:
            into_slot = timedelta(
                minutes=self.instant.minute % SLOT_MINUTES,
                seconds=self.instant.second,
                microseconds=self.instant.microsecond,
            )
            self.cut(self.instant - into_slot)
            self.cut(entry.schedule.next_change(self.instant))
        if entry.price.is_stateful:
            tz = zone(entry.price.time_zone)
            month = floor(self.instant, Granularity.MONTH, tz)
            self.cut(month)
            # 32 days reach the next month from any first day, whatever the clock does.
            self.cut(floor(month + timedelta(days=32), Granularity.MONTH, tz))


def _best(
    layers: tuple[_Layer, ...],
    key: tuple[str, str],
    subject: _Subject,
    currency_code: str,
    validity: _Validity,
) -> _Entry | None:
    """Returns the most specific price in force, and cuts the validity where a rival changes."""
    best: tuple[_Rank, datetime, datetime, str] | None = None
    found: _Entry | None = None
    for layer in layers:
        group = layer.get(key)
        for rank, entries in group.matches(subject) if group is not None else ():
            for entry in entries:
                price = entry.price
                if currency_code and price.currency_code != currency_code:
                    continue
                validity.cut(price.start_at)
                validity.cut(price.end_at)
                order = (rank, price.start_at, price.recorded_at, price.price_id)
                if price.is_effective(validity.instant) and (best is None or order > best):
                    best, found = order, entry
    return found


def _list_entry(chosen: _Entry, public: _Entry | None) -> _Entry:
    """Returns the public price in the same currency, where there is a linear one."""
    if public is None or public.price.is_stateful:
        return chosen
    if public.price.currency_code != chosen.price.currency_code:
        return chosen
    return public
