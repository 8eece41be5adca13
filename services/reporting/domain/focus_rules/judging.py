"""Judges a file by all rules, rows as they come, and says what became of each rule."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np

from services.reporting.domain.focus_rules.checks import Mask, Rows, judge, met
from services.reporting.domain.focus_rules.model import (
    ERRATA,
    PERMITTING,
    Check,
    Placed,
    RuleModel,
)

EXAMPLES_MAX: Final = 5


class Outcome(StrEnum):
    """What became of a rule.

    NOT_APPLICABLE: no row meets its conditions, its column is not there, or the provider has no
    such thing. BY_PERSON: no program can judge it. PERMISSION: it only permits. ERRATUM: breached,
    but contradicted by the specification itself.
    """

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    BY_PERSON = "for a person"
    PERMISSION = "permission"
    ERRATUM = "erratum"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one rule.

    is_required: by MUST all the way up, else by SHOULD. rows: that breach it; examples: the
    numbers of the first of them, from 1; a rule about the whole file breaches in row 0.
    """

    rule_id: str
    text: str
    is_required: bool
    outcome: Outcome
    rows: int = 0
    examples: tuple[int, ...] = ()


@dataclass(slots=True)
class _Tally:
    judged: int = 0
    failed: int = 0
    examples: list[int] = field(default_factory=list)


class Judgement:
    """One file being judged."""

    def __init__(
        self,
        model: RuleModel,
        columns: Sequence[str],
        currencies: frozenset[str],
        *,
        unsupported: frozenset[str] = frozenset(),
    ) -> None:
        """columns: the file's header. currencies: ISO 4217. unsupported: criteria not met."""
        self._columns = frozenset(columns)
        self._currencies = currencies
        self._unsupported = unsupported
        self._placed = list(model.placed())
        self._rules = model.rules
        self._tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
        self._distinct: dict[str, defaultdict[object, set[object]]] = {}
        self._rows = 0
        self._alternatives = {
            child for placed in self._placed if _is_choice(placed) for child in placed.rule.children
        }

    def add(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Judges more rows."""
        rows = Rows(columns, self._currencies)
        for placed in self._placed:
            if self._is_judged_by_row(placed):
                self._judge(placed, rows)
        self._rows += rows.count

    def verdicts(self) -> list[Verdict]:
        """Returns what became of every rule, those of the model that the root does not name too."""
        found = [self._verdict(placed) for placed in self._placed]
        named = {placed.rule.rule_id for placed in self._placed}
        found += [
            Verdict(rule.rule_id, rule.text, is_required=False, outcome=Outcome.BY_PERSON)
            for rule in self._rules.values()
            if rule.rule_id not in named
        ]
        return self._with_composites(found)

    def _is_judged_by_row(self, placed: Placed) -> bool:
        rule = placed.rule
        if rule.requirement is None or rule.keyword == PERMITTING:
            return False
        if rule.requirement.function == "ColumnPresent" or rule.rule_id in self._alternatives:
            return False
        return self._applies(placed) and (not rule.children or _is_choice(placed))

    def _applies(self, placed: Placed) -> bool:
        if placed.criteria & self._unsupported:
            return False
        looked_at = frozenset[str]().union(
            *(check.all_columns for check in self._checks_of(placed))
        )
        return looked_at <= self._columns

    def _checks_of(self, placed: Placed) -> list[Check]:
        found = list(placed.conditions)
        if placed.rule.requirement is not None:
            found.append(placed.rule.requirement)
        for child in placed.rule.children if _is_choice(placed) else ():
            below = self._rules[child]
            found += [check for check in (below.requirement, below.condition) if check is not None]
        return found

    def _judge(self, placed: Placed, rows: Rows) -> None:
        requirement = placed.rule.requirement
        if requirement is None:
            return
        concerned = np.ones(rows.count, dtype=bool)
        for condition in placed.conditions:
            concerned &= met(condition, rows)
        tally = self._tallies[placed.rule.rule_id]
        if requirement.function == "CheckDistinctCount":
            self._count_distinct(placed.rule.rule_id, requirement, rows, concerned)
            tally.judged += int(concerned.sum())
            return
        if _is_choice(placed):
            breached, judged = self._choice(placed, rows, concerned)
        else:
            found = judge(requirement, rows)
            judged = concerned & found.is_judged
            breached = judged & ~found.holds
        tally.judged += int(judged.sum())
        tally.failed += int(breached.sum())
        places = np.flatnonzero(breached)[: EXAMPLES_MAX - len(tally.examples)]
        tally.examples += [self._rows + int(place) + 1 for place in places]

    def _choice(self, placed: Placed, rows: Rows, concerned: Mask) -> tuple[Mask, Mask]:
        """Judges a rule of which one of several others must hold."""
        breached = concerned.copy()
        for child in placed.rule.children:
            below = self._rules[child]
            if below.requirement is None:  # a person may find that this one holds
                return np.zeros(rows.count, dtype=bool), np.zeros(rows.count, dtype=bool)
            found = judge(below.requirement, rows)
            breached &= ~(found.holds | ~found.is_judged)
        return breached, concerned

    def _count_distinct(
        self, rule_id: str, requirement: Check, rows: Rows, concerned: Mask
    ) -> None:
        known = self._distinct.setdefault(rule_id, defaultdict(set))
        first, second = (rows.values(column) for column in requirement.columns)
        is_there = concerned & ~rows.nulls(requirement.columns[0])
        is_there &= ~rows.nulls(requirement.columns[1])
        for place in np.flatnonzero(is_there):
            known[first[place]].add(second[place])

    def _verdict(self, placed: Placed) -> Verdict:
        rule = placed.rule
        outcome, rows, examples = self._outcome(placed)
        if outcome is Outcome.FAILED and rule.rule_id in ERRATA:
            outcome = Outcome.ERRATUM
        return Verdict(rule.rule_id, rule.text, placed.is_required, outcome, rows, examples)

    def _outcome(self, placed: Placed) -> tuple[Outcome, int, tuple[int, ...]]:
        rule, requirement = placed.rule, placed.rule.requirement
        if requirement is None:
            return Outcome.BY_PERSON, 0, ()
        if rule.keyword == PERMITTING:
            return Outcome.PERMISSION, 0, ()
        if requirement.function == "ColumnPresent":
            return self._presence(placed, requirement)
        return self._tallied(rule.rule_id, requirement)

    def _presence(self, placed: Placed, requirement: Check) -> tuple[Outcome, int, tuple[int, ...]]:
        if placed.criteria & self._unsupported:
            return Outcome.NOT_APPLICABLE, 0, ()
        is_there = requirement.columns[0] in self._columns
        return (Outcome.PASSED, 0, ()) if is_there else (Outcome.FAILED, 1, (0,))

    def _tallied(self, rule_id: str, requirement: Check) -> tuple[Outcome, int, tuple[int, ...]]:
        tally = self._tallies.get(rule_id)
        if tally is None or not tally.judged:
            return Outcome.NOT_APPLICABLE, 0, ()
        if rule_id in self._distinct:
            counts = Counter(len(found) for found in self._distinct[rule_id].values())
            wrong = sum(times for count, times in counts.items() if count != requirement.value)
            return (Outcome.FAILED, wrong, (0,)) if wrong else (Outcome.PASSED, 0, ())
        if tally.failed:
            return Outcome.FAILED, tally.failed, tuple(tally.examples)
        return Outcome.PASSED, 0, ()

    def _with_composites(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Gives rules that are made of others the outcome that those give them."""
        outcomes = {verdict.rule_id: verdict.outcome for verdict in verdicts}
        required = {verdict.rule_id for verdict in verdicts if verdict.is_required}

        def outcome_of(rule_id: str) -> Outcome:
            children = self._rules[rule_id].children
            if not children or outcomes[rule_id] in (Outcome.PASSED, Outcome.FAILED):
                return outcomes[rule_id]
            below = {child: outcome_of(child) for child in children if child in outcomes}
            if any(each is Outcome.FAILED and name in required for name, each in below.items()):
                return Outcome.FAILED
            found = set(below.values())
            return Outcome.PASSED if Outcome.PASSED in found else Outcome.NOT_APPLICABLE

        return [
            Verdict(
                each.rule_id,
                each.text,
                each.is_required,
                outcome_of(each.rule_id),
                each.rows,
                each.examples,
            )
            for each in verdicts
        ]


def _is_choice(placed: Placed) -> bool:
    requirement = placed.rule.requirement
    return requirement is not None and requirement.function == "OR" and bool(placed.rule.children)
