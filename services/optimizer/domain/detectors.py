"""All detectors, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

from services.optimizer.domain import (
    batching,
    caching,
    chatty,
    commitment,
    consolidation,
    error_reduction,
    idle,
    off_hours,
    region_move,
    rightsizing,
    scaling,
    scheduling,
    substitution,
)
from services.optimizer.domain.finding import Finding, Kind, rounded
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.statistics import ALL_HOURS, Statistics

Find: TypeAlias = Callable[[Statistics, DetectorSettings], Iterator[Finding]]

_ALL: tuple[tuple[DetectorProfile, Find], ...] = (
    (error_reduction.PROFILE, error_reduction.find),
    (idle.PROFILE, idle.find),
    (rightsizing.PROFILE, rightsizing.find),
    (off_hours.PROFILE, off_hours.find),
    (scaling.PROFILE, scaling.find),
    (scheduling.PROFILE, scheduling.find),
    (batching.PROFILE, batching.find),
    (consolidation.PROFILE, consolidation.find),
    (caching.PROFILE, caching.find),
    (chatty.PROFILE, chatty.find),
    (commitment.PROFILE, commitment.find),
    (substitution.PROFILE, substitution.find),
    (region_move.REGIONS, region_move.find_regions),
    (region_move.CARBON, region_move.find_carbon),
)
PROFILES: Mapping[str, DetectorProfile] = MappingProxyType(
    {profile.detector_id: profile for profile, _ in _ALL}
)
_FINDERS: Mapping[str, Find] = MappingProxyType(
    {profile.detector_id: find for profile, find in _ALL}
)


def detect(
    statistics: Statistics,
    settings: Mapping[str, DetectorSettings],
    *,
    trust: Mapping[str, Decimal] | None = None,
    detector_ids: Iterable[str] = (),
) -> list[Finding]:
    """Runs detectors and returns what is worth telling, the most valuable first.

    settings: by detector, defaults for those without. trust: by detector a factor in (0, 1] on its
    confidence, learnt from dismissals and refuted claims. detector_ids: default all enabled ones.
    """
    wanted = tuple(detector_ids) or tuple(PROFILES)
    statistics = replace(statistics, utilization=statistics.measured_lately())
    found: list[Finding] = []
    for detector_id in wanted:
        chosen = settings.get(detector_id) or PROFILES[detector_id].defaults()
        if chosen.is_disabled:
            continue
        factor = (trust or {}).get(detector_id, Decimal(1))
        for finding in _FINDERS[detector_id](statistics, chosen):
            worth = statistics.worth(finding.saving.expected, finding.currency_code)
            judged = replace(
                finding,
                confidence=finding.confidence * factor,
                worth=Decimal(0) if worth is None else rounded(worth),
            )
            has_history = history_days(statistics, judged) >= chosen.history_days_min
            is_known = worth is not None
            if has_history and is_worth_telling(judged, chosen, has_worth=is_known):
                found.append(judged)
    return sorted(found, key=lambda one: (-expected_value(one), one.detector_id, one.key))


def history_days(statistics: Statistics, finding: Finding) -> int:
    """Returns for how many days the usage that advice touches is known, up to the latest usage."""
    first = min(
        (statistics.by_id[part.series_id].active_hours[0] for part in finding.parts),
        default=0,
    )
    return -(-(statistics.horizon - first) // ALL_HOURS)


def is_worth_telling(
    finding: Finding, settings: DetectorSettings, *, has_worth: bool = True
) -> bool:
    """Tells whether advice passes what its owner asks for; carbon counts without money.

    has_worth: whether a rate tells what it saves in the tenant's currency; without one, the least
    saving, which is of that currency, cannot refuse it.
    """
    if finding.confidence < settings.confidence_min:
        return False
    if finding.kind is Kind.CARBON:
        return (finding.monthly_kg_co2e or Decimal(0)) > 0
    return not has_worth or finding.worth >= settings.saving_min


# Share of the expected saving that is left when the work is done, by effort and by risk.
_EFFORT_WEIGHT = MappingProxyType({1: Decimal(1), 2: Decimal("0.8"), 3: Decimal("0.55")})
_RISK_WEIGHT = MappingProxyType({1: Decimal(1), 2: Decimal("0.85"), 3: Decimal("0.6")})


def expected_value(finding: Finding) -> Decimal:
    """Returns what advice is worth a month, in the tenant's currency, after confidence and more.

    Effort and risk take their share of it.
    """
    return (
        finding.worth
        * finding.confidence
        * _EFFORT_WEIGHT[finding.effort]
        * _RISK_WEIGHT[finding.risk]
    )
