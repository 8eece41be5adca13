"""Builds the attributes of a bill's rows within the limits of the contract."""

from __future__ import annotations

from collections.abc import Iterable

from services.usage.domain.event import ATTRIBUTE_LENGTH_MAX, Attributes
from services.usage.service.importers.currencies import NATIONAL_CURRENCIES
from services.usage.service.importers.rows import RowProblem, TagKeys
from services.usage.service.importers.values import NO_VALUE, bounded

# The limits of finops.usage.v1.UsageEvent, so that an imported event can be read and amended there.
LENGTHS_MAX = {
    "resource_type": 128,
    "unit": 64,
    "user_id": 256,
    "department": 256,
    "project": 256,
    "resource_id": ATTRIBUTE_LENGTH_MAX,
    "service": 256,
    "service_category": 128,
    "provider": 128,
    "region": 128,
    "sub_account_id": 256,
    "charge_category": 32,
}
CHARGE = "charge"  # unit of a charge that measures nothing, such as a tax: its quantity is 1

_IGNORED_IN_KEYS = str.maketrans("", "", "-_ ")


class TagReader:
    """Finds department, project and user among a row's tags."""

    def __init__(self, keys: TagKeys) -> None:
        """Takes the names to look for."""
        self._department = [_folded(key) for key in keys.department]
        self._project = [_folded(key) for key in keys.project]
        self._user_id = [_folded(key) for key in keys.user_id]

    def bearers(self, tags: Iterable[tuple[str, str]]) -> tuple[str, str, str]:
        """Returns user, department and project, each "" where no tag says."""
        values: dict[str, str] = {}
        for key, value in tags:
            if value:
                values.setdefault(_folded(key), value)
        return (
            _first(values, self._user_id),
            _first(values, self._department),
            _first(values, self._project),
        )


def _first(values: dict[str, str], keys: Iterable[str]) -> str:
    return next((values[key] for key in keys if key in values), "")


def _folded(key: str) -> str:
    return key.lower().translate(_IGNORED_IN_KEYS)


def cell_text(cell: str) -> str:
    """Returns a cell without the blanks around it, "" where it holds no value."""
    text = cell.strip()
    return "" if text in NO_VALUE else text


def required_text(cell: str, column: str) -> str:
    """Returns a cell's text. Refuses a cell without value."""
    text = cell_text(cell)
    if not text:
        raise RowProblem(column, "has no value, and must have one")
    return text


def national_currency(cell: str, column: str) -> str:
    """Returns an ISO 4217 code. Refuses any other text."""
    code = required_text(cell, column)
    if code not in NATIONAL_CURRENCIES:
        raise RowProblem(column, f"is not an ISO 4217 currency code: {code[:20]!r}")
    return code


def one_of(cell: str, column: str, allowed: dict[str, str]) -> str:
    """Returns the allowed spelling of a value. Refuses values that are not allowed.

    allowed: spelling by lower-case text.
    """
    text = required_text(cell, column)
    spelling = allowed.get(text.lower())
    if spelling is None:
        choices = ", ".join(allowed.values())
        raise RowProblem(column, f"is {text[:40]!r}, and must be one of {choices}")
    return spelling


def snake_case(text: str) -> str:
    """Returns a name as a resource type: `Data Transfer` becomes `data_transfer`."""
    return "_".join(text.lower().split())


def checked(attributes: Attributes, columns: dict[str, str]) -> Attributes:
    """Returns the attributes unchanged. Refuses any that is too long for the contract.

    columns: by attribute, the file's column to name in the refusal.
    """
    for name, limit in LENGTHS_MAX.items():
        bounded(getattr(attributes, name), columns.get(name, name), limit)
    return attributes
