"""What the optimizer refuses, each with its reason."""

from __future__ import annotations

from services.kernel.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)


class RecommendationNotFound(NotFound):
    """There is no such recommendation; list them to find its id."""

    reason = "RECOMMENDATION_NOT_FOUND"


class TransitionNotAllowed(FailedPrecondition):
    """A recommendation in this state cannot be moved there."""

    reason = "TRANSITION_NOT_ALLOWED"


class DismissalReasonRequired(InvalidArgument):
    """Dismissing needs a dismissal_reason, because it teaches the detector."""

    reason = "DISMISSAL_REASON_REQUIRED"


class StaleRecommendation(Aborted):
    """The recommendation was changed meanwhile; read it again and repeat the change."""

    reason = "STALE_RECOMMENDATION"


class NotCompleted(FailedPrecondition):
    """Only a completed recommendation can be measured; complete it first."""

    reason = "NOT_COMPLETED"


class DetectorNotFound(NotFound):
    """There is no such detector; list the detectors for their ids."""

    reason = "DETECTOR_NOT_FOUND"


class InvalidSchedule(InvalidArgument):
    """A schedule is a cron expression of five fields, or `off`."""

    reason = "INVALID_SCHEDULE"


class StaleDetector(Aborted):
    """The detector's settings were changed meanwhile; read them again and repeat the change."""

    reason = "STALE_DETECTOR"


class ForeignLeastSaving(InvalidArgument):
    """The least saving is of the tenant's currency; give it in that."""

    reason = "DETECTOR_SAVING_CURRENCY"


class RunNotFound(NotFound):
    """There is no such run; list the runs to find its id."""

    reason = "OPTIMIZATION_RUN_NOT_FOUND"


class RunEnded(FailedPrecondition):
    """The run has ended; there is nothing left to stop."""

    reason = "OPTIMIZATION_RUN_ENDED"


class ResourceNotFound(NotFound):
    """The resource has no utilization samples in this period."""

    reason = "RESOURCE_NOT_FOUND"


class CatalogueNotFound(NotFound):
    """There is no such catalogue; list the catalogues for their ids."""

    reason = "CATALOGUE_NOT_FOUND"


class UnreadableFile(InvalidArgument):
    """The file has no usable row; its first line must name the columns."""

    reason = "UNREADABLE_FILE"


class InvalidInstant(InvalidArgument):
    """An instant is RFC 3339 with a zone, or a date."""

    reason = "INVALID_OPTIMIZER_INSTANT"


class UnknownWhatIf(InvalidArgument):
    """What is assumed cannot be computed; name a target whose price is known."""

    reason = "UNKNOWN_WHAT_IF"


class UsageRefused(FailedPrecondition):
    """The usage service refused what the optimizer asked; the text says why."""

    reason = "OPTIMIZER_USAGE_REFUSED"


class UnknownDimension(InvalidArgument):
    """There is no such dimension to group by."""

    reason = "UNKNOWN_CARBON_DIMENSION"
