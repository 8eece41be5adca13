"""The rule model: what each rule demands, of which rows, and how rules make up others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

ROOT: Final = "CostAndUsage-D-000-M"
REQUIRED: Final = frozenset({"MUST", "MUST NOT"})
PERMITTING: Final = "MAY"
MODEL_RULE: Final = "CheckModelRule"
_DATASETS: Final = ("ColumnPresent", "CheckDistinctCount")

# Rules of the model that the specification itself contradicts; a breach of them is no fault.
ERRATA: Final = {
    "CommitmentDiscountStatus-C-004-C": (
        "demands a value under the very condition under which CommitmentDiscountStatus-C-003-C"
        " demands none"
    ),
    "EffectiveCost-C-005-C": (
        "is about purchases that cover future charges, which its condition leaves out: it takes"
        " every purchase, a monthly fee for example"
    ),
    "CommitmentDiscountStatus-C-005-M": "FOCUS 1.2 allows Used and Unused, which it leaves out",
}


class UnknownRuleModel(ValueError):
    """The file is no rule model of FOCUS 1.2, or has kinds of check that are not known here."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. columns: it looks at, in its own order. value: it compares with.

    items: checks that AND and OR combine. rule_id: of the rule that `CheckModelRule` names.
    """

    function: str
    columns: tuple[str, ...] = ()
    value: object = None
    items: tuple[Check, ...] = ()
    rule_id: str = ""

    @property
    def all_columns(self) -> frozenset[str]:
        """Every column that it or a part of it looks at."""
        return frozenset(self.columns).union(*(item.all_columns for item in self.items))

    @property
    def is_about_dataset(self) -> bool:
        """Whether it is about the file as a whole and not about each row."""
        return self.function in _DATASETS


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. condition: None where it holds for every row. criteria: when it applies at all."""

    rule_id: str
    function: str
    keyword: str
    text: str
    requirement: Check | None
    condition: Check | None
    criteria: frozenset[str]
    is_dynamic: bool

    @property
    def children(self) -> tuple[str, ...]:
        """The rules that it is made of."""
        items = self.requirement.items if self.requirement is not None else ()
        return tuple(item.rule_id for item in items if item.function == MODEL_RULE)


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule with what it inherits from those above it."""

    rule: Rule
    conditions: tuple[Check, ...]
    criteria: frozenset[str]
    is_required: bool


class RuleModel:
    """All rules by their ids."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        """content: the model's JSON. Raises UnknownRuleModel."""
        try:
            self.version = str(content["Details"]["FOCUSVersion"])
            self.rules = {
                rule_id: _rule(rule_id, rule) for rule_id, rule in content["ModelRules"].items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise UnknownRuleModel(f"the rule model lacks {error}") from error
        if ROOT not in self.rules:
            raise UnknownRuleModel(f"the rule model has no rule {ROOT}")

    def placed(self) -> Iterator[Placed]:
        """Yields each rule below the root once, with the conditions of those above it."""
        seen: set[str] = set()
        yield from self._below(ROOT, (), frozenset(), seen, is_required=True)

    def _below(
        self,
        rule_id: str,
        conditions: tuple[Check, ...],
        criteria: frozenset[str],
        seen: set[str],
        *,
        is_required: bool,
    ) -> Iterator[Placed]:
        rule = self.rules[rule_id]
        if rule_id in seen:
            return
        seen.add(rule_id)
        if rule.condition is not None:
            conditions = (*conditions, rule.condition)
        criteria |= rule.criteria
        is_required = is_required and rule.keyword in REQUIRED
        yield Placed(rule, conditions, criteria, is_required)
        for child in rule.children:
            yield from self._below(child, conditions, criteria, seen, is_required=is_required)


def _rule(rule_id: str, rule: Mapping[str, Any]) -> Rule:
    criteria = rule["ValidationCriteria"]
    is_dynamic = rule["Type"] == "Dynamic"
    return Rule(
        rule_id=rule_id,
        function=rule["Function"],
        keyword=criteria["Keyword"],
        text=criteria["MustSatisfy"],
        requirement=None if is_dynamic else _check(criteria["Requirement"]),
        condition=_check(criteria["Condition"]),
        criteria=frozenset(rule["ApplicabilityCriteria"]),
        is_dynamic=is_dynamic,
    )


def _check(content: Mapping[str, Any]) -> Check | None:
    """Reads a check; some of the model's conditions name no function but `AND` itself."""
    if not content:
        return None
    function = content.get("CheckFunction") or next(iter(content))
    if function in ("AND", "OR"):
        items = content.get("Items", content.get(function))
        parts: Sequence[Mapping[str, Any]] = items if isinstance(items, list) else [items]
        return Check(function, items=tuple(part for item in parts if (part := _check(item))))
    names = ("ColumnName", "ColumnAName", "ColumnBName", "ResultColumnName", "CheckCondition")
    return Check(
        function,
        columns=tuple(content[name] for name in names if name in content),
        value=content.get("Value", content.get("ExpectedCount")),
        rule_id=content.get("ModelRuleId", ""),
    )
