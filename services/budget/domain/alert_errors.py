"""What the rules about alerts, channels and deliveries refuse."""

from __future__ import annotations

from services.kernel.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound


class AlertClosed(FailedPrecondition):
    """The alert is closed; a closed alert does not change."""

    reason = "ALERT_CLOSED"


class SnoozeNotInFuture(InvalidArgument):
    """A snooze ends later than now."""

    reason = "SNOOZE_NOT_IN_FUTURE"


class InvalidSuppressionRule(InvalidArgument):
    """The rule lacks what its kind needs: quiet hours, a window or a grouping."""

    reason = "INVALID_SUPPRESSION_RULE"


class InvalidChannel(InvalidArgument):
    """The channel lacks what its kind needs, or has what it cannot use."""

    reason = "INVALID_CHANNEL"


class AddressRefused(InvalidArgument):
    """The address is inside this network; the operator can allow its host."""

    reason = "ADDRESS_REFUSED"


class SnoozeTooLong(InvalidArgument):
    """A snooze ends at most 90 days from now; resolve what nobody needs to see again."""

    reason = "SNOOZE_TOO_LONG"


class AlertNotFound(NotFound):
    """No alert with this id exists for the tenant."""

    reason = "ALERT_NOT_FOUND"


class EscalationPolicyNotFound(NotFound):
    """No escalation policy with this id exists for the tenant."""

    reason = "ESCALATION_POLICY_NOT_FOUND"


class SuppressionRuleNotFound(NotFound):
    """No suppression rule with this id exists for the tenant."""

    reason = "SUPPRESSION_RULE_NOT_FOUND"


class ChannelNotFound(NotFound):
    """No notification channel with this id exists for the tenant."""

    reason = "CHANNEL_NOT_FOUND"


class EventSubscriptionNotFound(NotFound):
    """No event subscription with this id exists for the tenant."""

    reason = "EVENT_SUBSCRIPTION_NOT_FOUND"


class DeliveryNotFound(NotFound):
    """No delivery with this id exists for the tenant."""

    reason = "DELIVERY_NOT_FOUND"


class DeliveryNotEnded(FailedPrecondition):
    """The delivery is on its way already; replay it once it is delivered or dead."""

    reason = "DELIVERY_NOT_ENDED"


class ChannelDoesNotSign(FailedPrecondition):
    """Only webhook channels have a signing secret."""

    reason = "CHANNEL_DOES_NOT_SIGN"


class AlertResourceChanged(Aborted):
    """It was changed after it was read; read it again and repeat the change."""

    reason = "ALERT_RESOURCE_CHANGED"


def require_etag(given: str, current: str) -> None:
    """Refuses a change of another version than the stored one. Raises AlertResourceChanged."""
    if given and given != current:
        raise AlertResourceChanged(etag=given, current_etag=current)


def etag_of(resource_id: str, revision: int) -> str:
    """Returns what changes with every change of a resource."""
    return f"{resource_id}-{revision}"
