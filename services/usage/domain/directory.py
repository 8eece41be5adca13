"""The tree of departments and the lines of managers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.kernel.errors import FailedPrecondition, InvalidArgument, NotFound

DEPTH_MAX = 64  # bounds a chain of departments or managers


class DepartmentCycle(FailedPrecondition):
    """The department would be above itself; choose another parent."""

    reason = "DEPARTMENT_CYCLE"


class ManagerCycle(FailedPrecondition):
    """The user would manage themselves through others; choose another manager."""

    reason = "MANAGER_CYCLE"


class HierarchyTooDeep(InvalidArgument):
    """A chain of departments or managers has at most 64 members."""

    reason = "HIERARCHY_TOO_DEEP"


class UnknownDepartment(NotFound):
    """The department does not exist in the directory; create it first."""

    reason = "UNKNOWN_DEPARTMENT"


class UnknownUser(NotFound):
    """The user does not exist in the directory; create them first."""

    reason = "UNKNOWN_USER"


@dataclass(frozen=True, slots=True)
class Department:
    """A department. parent_id: the one above, "" at the top."""

    department_id: str
    parent_id: str = ""
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A person or machine account. department_id, manager_id: "" where there is none."""

    user_id: str
    department_id: str = ""
    manager_id: str = ""
    display_name: str = ""
    email: str = ""


class Directory:
    """Departments and users of one tenant, as they stand at one time.

    Every parent and manager named exists, and no chain returns to itself.
    Raises UnknownDepartment, UnknownUser, DepartmentCycle, ManagerCycle, HierarchyTooDeep.
    """

    def __init__(self, departments: Iterable[Department], users: Iterable[User]) -> None:
        """Checks and indexes both. O(members)."""
        self._departments = {each.department_id: each for each in departments}
        self._users = {each.user_id: each for each in users}
        self._parents = {each.department_id: each.parent_id for each in self._departments.values()}
        self._managers = {each.user_id: each.manager_id for each in self._users.values()}
        _require(self._parents, self._parents.values(), UnknownDepartment, "department_id")
        _require(self._managers, self._managers.values(), UnknownUser, "user_id")
        named = [each.department_id for each in self._users.values()]
        _require(self._departments, named, UnknownDepartment, "department_id")
        _check_chains(self._parents, DepartmentCycle, "department_id")
        _check_chains(self._managers, ManagerCycle, "user_id")
        self._subdepartments = _children(self._parents)
        self._reports = _children(self._managers)

    def department_of(self, user_id: str) -> str:
        """Returns the department that bears a user's cost, "" where none is known."""
        user = self._users.get(user_id)
        return user.department_id if user is not None else ""

    def department_chain(self, department_id: str) -> list[str]:
        """Returns the department and those above it, itself first. Raises UnknownDepartment."""
        _require(self._departments, [department_id], UnknownDepartment, "department_id")
        return _chain(self._parents, department_id)

    def department_subtree(self, department_id: str) -> list[str]:
        """Returns the department and all below it, level by level. Raises UnknownDepartment."""
        _require(self._departments, [department_id], UnknownDepartment, "department_id")
        return _below(self._subdepartments, department_id)

    def manager_chain(self, user_id: str) -> list[str]:
        """Returns a user's managers, nearest first, without the user; empty for a stranger."""
        if user_id not in self._users:
            return []
        return _chain(self._managers, user_id)[1:]

    def line_of(self, manager_id: str) -> list[str]:
        """Returns the manager and everybody below them, level by level.

        Cost of a manager's line is the cost of these users. Raises UnknownUser.
        """
        _require(self._users, [manager_id], UnknownUser, "user_id")
        return _below(self._reports, manager_id)

    def managers(self) -> list[str]:
        """Returns everybody with at least one report, in order of id."""
        return sorted(self._reports)


def _require(
    known: Mapping[str, object], named: Iterable[str], error: type[NotFound], key: str
) -> None:
    for name in named:
        if name and name not in known:
            raise error(f"{name!r} is not in the directory; create it first", **{key: name})


def _check_chains(above: Mapping[str, str], error: type[FailedPrecondition], key: str) -> None:
    """Raises the error where a chain returns to itself. Each member is walked past once."""
    depth: dict[str, int] = {"": 0}
    for start in above:
        path: list[str] = []
        walked: set[str] = set()
        at = start
        while at not in depth:
            if at in walked:
                raise error(**{key: at})
            walked.add(at)
            path.append(at)
            at = above[at]
        for member in reversed(path):
            depth[member] = depth[above[member]] + 1
            if depth[member] > DEPTH_MAX:
                raise HierarchyTooDeep(**{key: member})


def _children(above: Mapping[str, str]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for member in sorted(above):
        if above[member]:
            children.setdefault(above[member], []).append(member)
    return children


def _chain(above: Mapping[str, str], start: str) -> list[str]:
    chain, at = [], start
    while at:
        chain.append(at)
        at = above[at]
    return chain


def _below(children: Mapping[str, list[str]], top: str) -> list[str]:
    found, waiting = [], deque([top])
    while waiting:
        member = waiting.popleft()
        found.append(member)
        waiting.extend(children.get(member, ()))
    return found
