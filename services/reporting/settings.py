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
    # How long the files of reports are kept.
    report_retention_days: PositiveInt = 400
    # How long the files of exports are kept, and their links open them.
    export_retention_days: PositiveInt = 7
    # How long what was collected of a person can be fetched.
    subject_export_retention_days: PositiveInt = 7
    # Where people reach the REST API; links in documents and mails begin with it.
    public_url: str = "http://127.0.0.1:8080"
