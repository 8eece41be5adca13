"""What the reporting service reads from its environment beside the kernel's settings."""

from __future__ import annotations

from pydantic import PositiveInt

from services.kernel.settings import ServiceSettings


class ReportingSettings(ServiceSettings):
    """Bounds of the reporting service; prefix `FINOPS_`."""

    # How long forecasts are kept to be compared with what came: three years.
    forecast_retention_days: PositiveInt = 1_095
    # How long watchers of anomalies may lag behind before they must start from the list.
    feed_retention_days: PositiveInt = 35
