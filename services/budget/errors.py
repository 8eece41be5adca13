"""What the budget service refuses, each with its reason."""

from __future__ import annotations

from services.kernel.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound


class BudgetNotFound(NotFound):
    """No budget with this id exists for the tenant."""

    reason = "BUDGET_NOT_FOUND"


class BudgetChanged(Aborted):
    """The budget was changed after it was read; read it again and repeat the change."""

    reason = "BUDGET_CHANGED"


class BudgetEnded(FailedPrecondition):
    """The budget has ended and is readable only; create another one."""

    reason = "BUDGET_ENDED"


class BudgetNotDraft(FailedPrecondition):
    """Only a draft can be activated; this budget is in force already."""

    reason = "BUDGET_NOT_DRAFT"


class BudgetCurrencyFixed(FailedPrecondition):
    """A budget keeps its currency, so that its periods compare; create another one."""

    reason = "BUDGET_CURRENCY_FIXED"


class BudgetStartFixed(FailedPrecondition):
    """A budget that has begun keeps its start; end it and create another one."""

    reason = "BUDGET_START_FIXED"


class EffectiveTimeInClosedPeriod(InvalidArgument):
    """A change counts from the running period on; closed periods keep what they ran under."""

    reason = "EFFECTIVE_TIME_IN_CLOSED_PERIOD"


class StructureInsidePeriod(InvalidArgument):
    """Scope, cadence, period rule and kind of cost change at the end of a period only."""

    reason = "STRUCTURE_INSIDE_PERIOD"


class TooManyPastPeriods(InvalidArgument):
    """The budget would begin with more past periods than are kept; choose a later start_time."""

    reason = "TOO_MANY_PAST_PERIODS"


class FillContended(Aborted):
    """Usage arrived faster than it could be counted in; repeat the call."""

    reason = "FILL_CONTENDED"


class IncreaseNotFound(NotFound):
    """The budget has no temporary increase with this id."""

    reason = "INCREASE_NOT_FOUND"


class IncreaseOver(FailedPrecondition):
    """The temporary increase has ended already; nothing is left to do."""

    reason = "INCREASE_OVER"


class IncreaseNotInFuture(InvalidArgument):
    """A temporary increase ends in the future and after its start."""

    reason = "INCREASE_NOT_IN_FUTURE"


class UsageRefused(FailedPrecondition):
    """The usage service refused a question that this call needs; see the message."""

    reason = "USAGE_REFUSED"


class NoPeriod(FailedPrecondition):
    """The budget has no period at this instant; it is a draft, has not begun or has ended."""

    reason = "NO_PERIOD"


class BacktestTooLarge(InvalidArgument):
    """The usage to replay has more events than one backtest takes; choose a shorter time."""

    reason = "BACKTEST_TOO_LARGE"
