"""Departments and managers of a tenant, as the usage service's directory had them last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.budget.domain.scope import SpendAttributes

COMPLETIONS_MAX = 50_000  # combinations of attributes remembered, about 40 MB
CHAIN_MAX = 64  # the directory's own bound; also ends a cycle that a half-read directory shows


@dataclass(frozen=True, slots=True)
class Directory:
    """One tenant's settings and trees.

    parents: of each department, "" at the top. departments, managers: of each user, "" for none.
    """

    time_zone: str = "UTC"
    currency_code: str = "USD"
    parents: Mapping[str, str] = field(default_factory=dict)
    departments: Mapping[str, str] = field(default_factory=dict)
    managers: Mapping[str, str] = field(default_factory=dict)
    # Reading the directory again makes another object, which remembers nothing.
    _completed: dict[SpendAttributes, SpendAttributes] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def department_chain(self, department_id: str) -> tuple[str, ...]:
        """Returns the department and those above it, itself first; empty for none."""
        return _chain(self.parents, department_id)

    def manager_chain(self, user_id: str) -> tuple[str, ...]:
        """Returns the user and the managers above, the user first; empty for none."""
        return _chain(self.managers, user_id)

    def completed(self, spend: SpendAttributes) -> SpendAttributes:
        """Returns the attributes with the user's department, where none is given, and the chains.

        A user or department that the directory does not know stands alone in its chain.
        Remembered: it stands before every decision and in every page of costs.
        """
        known = self._completed.get(spend)
        if known is not None:
            return known
        department_id = spend.department_id or self.departments.get(spend.user_id, "")
        completed = spend._replace(
            department_id=department_id,
            department_chain=self.department_chain(department_id),
            manager_chain=self.manager_chain(spend.user_id),
        )
        if len(self._completed) >= COMPLETIONS_MAX:
            self._completed.clear()
        self._completed[spend] = completed
        return completed


def _chain(above: Mapping[str, str], first: str) -> tuple[str, ...]:
    found: list[str] = []
    current = first
    while current and len(found) < CHAIN_MAX and current not in found:
        found.append(current)
        current = above.get(current, "")
    return tuple(found)
