"""What a forecast is asked for, and which seasons a step size may have."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.kernel.errors import FieldViolations

# Steps in a season, shortest first.
SEASONS = {"hour": (24, 168), "day": (7,), "week": (52,), "month": (12,)}
SEASON_NAMES = {
    ("hour", 24): "day",
    ("hour", 168): "week",
    ("day", 7): "week",
    ("week", 52): "year",
    ("month", 12): "year",
}
MODEL_NAMES = (
    *("auto", "seasonal_naive", "ets", "theta", "arima", "mstl", "combination"),
    *("linear", "exponential"),
)
HORIZON_MAX = 26_280
# Whole seasons that the first origin of the backtest must have seen.
SEASONS_SEEN_MIN = 2


@dataclass(frozen=True, slots=True)
class ForecastQuestion:
    """How to forecast some series.

    horizon: steps, 1 to 26,280 (1,095 days of hours). seasons: steps in each, ascending.
    levels: of the intervals, in (0, 1), ascending. model: `auto` or a model's name.
    """

    horizon: int
    seasons: tuple[int, ...] = SEASONS["day"]
    levels: tuple[float, ...] = (0.8, 0.95)
    model: str = "auto"
    is_daily: bool = field(default=False)

    def __post_init__(self) -> None:
        """Raises FieldViolations naming every part that cannot be."""
        violations = []
        if not 1 <= self.horizon <= HORIZON_MAX:
            violations.append(("horizon", f"must be from 1 to {HORIZON_MAX} steps"))
        if any(season <= 1 for season in self.seasons):
            violations.append(("seasons", "must be of two steps or more"))
        if not self.levels or any(not 0 < level < 1 for level in self.levels):
            violations.append(("levels", "must be between 0 and 1, without both"))
        if self.model not in MODEL_NAMES:
            violations.append(("model", f"must be one of {', '.join(MODEL_NAMES)}"))
        if violations:
            raise FieldViolations(violations)

    def seasons_seen(self, fitted: int) -> tuple[int, ...]:
        """Returns the seasons of which `fitted` values hold enough."""
        return tuple(
            season for season in sorted(self.seasons) if season * SEASONS_SEEN_MIN <= fitted
        )
