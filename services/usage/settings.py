"""What the usage service reads from its environment beside the kernel's settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveInt

from services.kernel.settings import ServiceSettings


class UsageSettings(ServiceSettings):
    """Bounds and places of the usage service; prefix `FINOPS_`."""

    # Raw events are kept at least so many months, then archived; 0 keeps them for ever.
    raw_retention_months: int = Field(default=0, ge=0)
    archive_dir: Path = Path(".finops/archive")
    # How long consumers may lag behind the change feed before they must start from the lists.
    feed_retention_days: PositiveInt = 35
