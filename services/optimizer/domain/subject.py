"""What a row of usage is about: every attribute that cost is kept by."""

from __future__ import annotations

from typing import NamedTuple


class Subject(NamedTuple):
    """One combination of attributes, as the usage service keeps cost by. tags: sorted pairs."""

    resource_type: str
    unit: str
    currency_code: str
    user_id: str = ""
    department: str = ""
    project: str = ""
    resource_id: str = ""
    service: str = ""
    service_category: str = ""
    provider: str = ""
    region: str = ""
    sub_account_id: str = ""
    charge_category: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    def tag(self, key: str) -> str:
        """Returns the value of a tag, "" without it."""
        return next((value for name, value in self.tags if name == key), "")

    def fields(self) -> dict[str, object]:
        """Returns the attributes under the names that filters use."""
        return {
            "resource_type": self.resource_type,
            "unit": self.unit,
            "currency_code": self.currency_code,
            "user": self.user_id,
            "department": self.department,
            "project": self.project,
            "resource_id": self.resource_id,
            "service": self.service,
            "service_category": self.service_category,
            "provider": self.provider,
            "region": self.region,
            "sub_account": self.sub_account_id,
            "charge_category": self.charge_category,
            "tags": dict(self.tags),
        }
