"""What the budget service keeps, as kernel.records_keeping lists, erases and removes it."""

from __future__ import annotations

from typing import Final

from services.kernel.records import Collection, Form, Records, Sealed
from services.kernel.records_kernel import KERNEL_EXEMPT, kernel_collections

# Indexes of budgets are kept in memory until this number moves.
_NEW_INDEX: Final = "UPDATE budget.tenant_revision SET revision = revision + 1 WHERE tenant_id = $1"

_BUDGETS: Final = (
    Collection(
        name="budget.budget",
        table="budget",
        description="Budgets, and who made them.",
        subjects={"created_by": Form.ID},
    ),
    Collection(
        name="budget.version",
        table="budget_version",
        description="Terms of budgets, the persons they cover and tell, and who set them.",
        subjects={"author": Form.ID, "reason": Form.WORDS, "terms": Form.FIELDS},
        after_erasure=_NEW_INDEX,
    ),
    Collection(
        name="budget.increase",
        table="budget_increase",
        description="Temporary increases of limits, and who granted them.",
        subjects={"author": Form.ID, "reason": Form.WORDS},
    ),
    Collection(
        name="budget.change",
        table="budget_change",
        description="The feed of budgets; consumed facts go by the feed's own time.",
        subjects={"payload": Form.PAYLOAD},
    ),
)
_SPEND: Final = (
    Collection(
        name="budget.authorization",
        table="spend_authorization",
        description="Spend that was asked for, by whom, and how it ended.",
        subjects={
            "user_id": Form.ID,
            "tags": Form.LABELS,
            "release_reason": Form.WORDS,
        },
        time="ended_at",
        needed="r.ended_at IS NULL OR r.claim_at IS NOT NULL",
        days=400,
    ),
    Collection(
        name="budget.ledger_entry",
        table="ledger_entry",
        description="Movements of budgets' totals. Those of open periods stay.",
        time="created_at",
        needed="""EXISTS (SELECT FROM budget.budget_period p WHERE p.tenant_id = r.tenant_id
            AND p.budget_id = r.budget_id AND p.period_start = r.period_start
            AND p.closed_at IS NULL)""",
        days=1100,
        days_min=400,
    ),
    Collection(
        name="budget.reconciliation",
        table="reconciliation",
        description="Comparisons of ledger and usage, and who asked for them.",
        subjects={"author": Form.ID, "error": Form.WORDS},
        time="ended_at",
        needed="r.ended_at IS NULL",
        key="reconciliation_id",
        children=("budget_drift",),
        days=400,
    ),
)
_ALERTS: Final = (
    Collection(
        name="budget.alert",
        table="alert",
        description="Alerts, who is told and who took them. Those that are not resolved stay.",
        subjects={
            "acknowledged_by": Form.ID,
            "recipients": Form.LIST,
            "message": Form.WORDS,
        },
        time="resolved_at",
        needed="r.resolved_at IS NULL",
        key="alert_id",
        children=("alert_transition",),
        days=400,
    ),
    Collection(
        name="budget.alert_transition",
        table="alert_transition",
        description="Steps of alerts, and who took them; they go with the alert.",
        subjects={"actor": Form.ID, "note": Form.WORDS},
    ),
    Collection(
        name="budget.alert_change",
        table="alert_change",
        description="The feed of alerts; consumed facts go by the feed's own time.",
        subjects={"payload": Form.PAYLOAD},
    ),
    Collection(
        name="budget.escalation_policy",
        table="escalation_policy",
        description="Who is told next when nobody takes an alert.",
        subjects={"steps": Form.FIELDS},
    ),
    Collection(
        name="budget.suppression_rule",
        table="suppression_rule",
        description="Which alerts are not told.",
        subjects={"filter": Form.WORDS},
    ),
    Collection(
        name="budget.event_subscription",
        table="event_subscription",
        description="Which events are sent where.",
        subjects={"filter": Form.WORDS},
    ),
    Collection(
        name="budget.channel",
        table="channel",
        description="Where notifications go; addresses of others than mail are sealed.",
        subjects={
            "email_addresses": Form.LIST,
            "address_hint": Form.WORDS,
            "last_error": Form.WORDS,
        },
    ),
    Collection(
        name="budget.notification",
        table="notification",
        description="Texts that were sent, with their deliveries. Those under way stay.",
        subjects={
            "title": Form.WORDS,
            "text_body": Form.WORDS,
            "html_body": Form.WORDS,
            "payload_json": Form.FIELDS,
        },
        time="created_at",
        needed="""EXISTS (SELECT FROM budget.delivery d WHERE d.tenant_id = r.tenant_id
            AND d.notification_id = r.notification_id AND d.state IN ('queued', 'sending'))""",
        key="notification_id",
        children=("delivery",),
        days=180,
    ),
    Collection(
        name="budget.delivery",
        table="delivery",
        description="Deliveries of notifications, and to whom; they go with the notification.",
        subjects={"mail_to": Form.ID, "receiver_hint": Form.WORDS, "digest_key": Form.WORDS},
    ),
    Collection(
        name="budget.delivery_attempt",
        table="delivery_attempt",
        description="What receivers answered; it goes with the delivery.",
        subjects={"response_excerpt": Form.WORDS, "error": Form.WORDS},
    ),
)

RECORDS: Final = Records(
    service="budget",
    collections=(*_BUDGETS, *_SPEND, *_ALERTS, *kernel_collections("budget")),
    exempt=KERNEL_EXEMPT
    | {
        "budget_version.user_id": "generated from terms by the database",
        "spend_authorization.decision": "amounts and ids of budgets",
        "spend_authorization.holds": "amounts and ids of budgets",
        "suppression_rule.quiet_hours": "hours of days",
        "suppression_rule.alert_grouping": "seconds",
        "notification_attachment.content": "files that reporting made of figures; go with it",
        "channel.secrets": "sealed, and of the receiver's system",
        "channel.previous_secret": "sealed, and of the receiver's system",
    },
    sealed=(
        Sealed("channel", "secrets", ("channel_id",), lambda _: "channel.secrets"),
        Sealed("channel", "previous_secret", ("channel_id",), lambda _: "channel.previous_secret"),
    ),
)
