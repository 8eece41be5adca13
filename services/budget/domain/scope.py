"""Which cost a budget covers: a conjunction of conditions on the attributes of spend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from services.kernel.errors import FieldViolations

# Conditions on one attribute each, by the attribute's own name.
PLAIN = ("user_id", "project", "resource_type", "resource_id", "service", "provider", "region")


class SpendAttributes(NamedTuple):
    """What is known of work that spends, or of a cost that arrived; "" where there is none.

    department_chain: the department that bears the cost and those above it, itself first.
    manager_chain: the user and the managers above, the user first. Both come from the directory.
    tags: sorted pairs, so that equal attributes are one cache entry.
    """

    user_id: str = ""
    department_id: str = ""
    project: str = ""
    resource_type: str = ""
    resource_id: str = ""
    service: str = ""
    provider: str = ""
    region: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    department_chain: tuple[str, ...] = ()
    manager_chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """All conditions that are given must hold; none means the whole tenant.

    department_id: with its sub-departments, unless they are excluded. manager_id: the manager and
    everybody in the line below. tags: sorted pairs that the spend must carry.
    Raises FieldViolations.
    """

    department_id: str = ""
    is_subtree_excluded: bool = False
    user_id: str = ""
    manager_id: str = ""
    project: str = ""
    resource_type: str = ""
    resource_id: str = ""
    service: str = ""
    provider: str = ""
    region: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.is_subtree_excluded and not self.department_id:
            raise FieldViolations(
                [("budget.scope.exclude_subdepartments", "needs department_id as well")]
            )

    def covers(self, spend: SpendAttributes) -> bool:
        """Tells whether spend with these attributes counts."""
        if self.department_id:
            chain = spend.department_chain or (spend.department_id,)
            if self.department_id not in (chain[:1] if self.is_subtree_excluded else chain):
                return False
        if self.manager_id and self.manager_id not in spend.manager_chain:
            return False
        for name in PLAIN:
            wanted = getattr(self, name)
            if wanted and wanted != getattr(spend, name):
                return False
        return not self.tags or set(self.tags) <= set(spend.tags)

    def keys(self) -> Iterator[tuple[str, str]]:
        """Yields each condition as (name, value), the most selective kinds first."""
        yield from ((f"tag:{key}", value) for key, value in self.tags)
        for name in ("resource_id", "user_id", "manager_id", "project", "department_id"):
            if value := getattr(self, name):
                yield name, value
        for name in ("service", "resource_type", "region", "provider"):
            if value := getattr(self, name):
                yield name, value


def spend_keys(spend: SpendAttributes) -> Iterator[tuple[str, str]]:
    """Yields every key under which a scope that covers the spend can be filed."""
    yield from ((f"tag:{key}", value) for key, value in spend.tags)
    for name in PLAIN:
        if value := getattr(spend, name):
            yield name, value
    yield from (("manager_id", manager) for manager in spend.manager_chain)
    chain = spend.department_chain or (spend.department_id,)
    yield from (("department_id", department) for department in chain if department)
