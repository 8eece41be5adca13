"""What the optimizer reads from its environment beside the kernel's settings."""

from __future__ import annotations

from pydantic import PositiveInt

from services.kernel.settings import ServiceSettings


class OptimizerSettings(ServiceSettings):
    """Bounds of the optimizer; prefix `FINOPS_`."""

    # How long consumers of the recommendation feed may lag before they must start from the lists.
    feed_retention_days: PositiveInt = 35
    # How much history of usage is kept: two years, for year-on-year comparison.
    statistics_days: PositiveInt = 730
