"""Segregation of duties: which two things the same person must not do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from services.reporting.domain.compliance import AuditRecord, DutyException

CITED_MAX: Final = 100  # resources and entries that one exception names


@dataclass(frozen=True, slots=True)
class DutyRule:
    """Two groups of actions that are two persons' business.

    on_one_resource: only where both are done to the same; else anywhere in the period.
    """

    text: str
    first: frozenset[str]
    second: frozenset[str]
    on_one_resource: bool = False


RULES: Final = (
    DutyRule(
        "the author of a credit note does not approve it",
        frozenset({"credit_notes.create"}),
        frozenset({"credit_notes.approve"}),
        on_one_resource=True,
    ),
    DutyRule(
        "who issues an invoice does not void it or write it off",
        frozenset({"invoices.generate", "invoices.finalize"}),
        frozenset({"invoices.void", "invoices.write_off"}),
        on_one_resource=True,
    ),
    DutyRule(
        "who raises budgets does not record payments",
        frozenset({"budgets.create", "budgets.update", "budget_increases.create"}),
        frozenset({"payments.record", "payments.import"}),
    ),
    DutyRule(
        "who sets prices or plans does not issue invoices",
        frozenset(
            {"prices.create", "prices.update", "prices.import", "plans.create", "plans.update"}
        ),
        frozenset({"invoices.generate", "invoices.finalize"}),
    ),
    DutyRule(
        "who issues invoices does not record their payment",
        frozenset({"invoices.generate", "invoices.finalize"}),
        frozenset({"payments.record", "payments.import"}),
    ),
    DutyRule(
        "who makes API keys does not record or give back payments",
        frozenset({"api_keys.create"}),
        frozenset({"payments.record", "payments.import", "payments.refund"}),
    ),
)


@dataclass(frozen=True, slots=True)
class Deed:
    """What is kept of an entry that a rule asks about: little, for there may be many."""

    action: str
    resource: str
    entry: str


class DutyWatch:
    """Takes entries one by one, and finds which rules were not kept. O(entries of the rules)."""

    def __init__(self) -> None:
        self._deeds: dict[str, list[Deed]] = defaultdict(list)
        self._watched = frozenset().union(*(rule.first | rule.second for rule in RULES))

    def add(self, record: AuditRecord) -> None:
        """Takes an entry; what services do by themselves is no person's duty."""
        if record.action not in self._watched or is_automatic(record.actor):
            return
        if record.action == "budgets.update" and not is_raise(record):
            return
        self._deeds[record.actor].append(Deed(record.action, record.resource, record.name))

    def exceptions(self) -> tuple[DutyException, ...]:
        """Returns what was found, by rule, then actor."""
        found = []
        for rule in RULES:
            for actor in sorted(self._deeds):
                deeds = _breaking(rule, self._deeds[actor])
                if deeds:
                    found.append(_exception(rule, actor, deeds))
        return tuple(found)


def is_automatic(actor: str) -> bool:
    """Tells whether an actor is a service or one of its jobs."""
    return actor.startswith(("service:", "schedule:", "job:")) or not actor


def is_raise(record: AuditRecord) -> bool:
    """Tells whether a budget may be spent more of after the change than before."""
    before, after = _amount(record.before), _amount(record.after)
    # Where an amount is not told, the change counts: an auditor rather looks once too often.
    return before is None or after is None or after > before


def _amount(state: Mapping[str, object] | None) -> Decimal | None:
    value = (state or {}).get("amount")
    if isinstance(value, Mapping):
        value = value.get("amount")
    try:
        return Decimal(str(value)) if value not in (None, "") else None
    except InvalidOperation:
        return None


def _breaking(rule: DutyRule, deeds: Sequence[Deed]) -> list[Deed]:
    first = [deed for deed in deeds if deed.action in rule.first]
    second = [deed for deed in deeds if deed.action in rule.second]
    if rule.on_one_resource:
        both = {deed.resource for deed in first} & {deed.resource for deed in second}
        first = [deed for deed in first if deed.resource in both]
        second = [deed for deed in second if deed.resource in both]
    return [*first, *second] if first and second else []


def _exception(rule: DutyRule, actor: str, deeds: Sequence[Deed]) -> DutyException:
    resources = tuple(dict.fromkeys(deed.resource for deed in deeds))
    actions = ", ".join(dict.fromkeys(deed.action for deed in deeds))
    return DutyException(
        rule=rule.text,
        actor=actor,
        resources=resources[:CITED_MAX],
        entries=tuple(deed.entry for deed in deeds[:CITED_MAX]),
        description=f"{actor} did {actions} on {len(resources)} resources, {len(deeds)} entries.",
    )
