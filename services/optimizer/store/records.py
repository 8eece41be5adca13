"""What the optimizer keeps, as kernel.records_keeping lists, erases and removes it."""

from __future__ import annotations

from typing import Final

from services.kernel.records import Collection, Form, Records
from services.kernel.records_kernel import KERNEL_EXEMPT, kernel_collections

_COLLECTIONS: Final = (
    Collection(
        name="optimizer.dimension",
        table="dimension",
        description="Attributes of the usage that statistics are of, the user among them.",
        subjects={"user_id": Form.ID, "tags": Form.LABELS},
    ),
    Collection(
        name="optimizer.recommendation",
        table="recommendation",
        description="Recommendations, who owns them and what they say. Open ones stay.",
        subjects={
            "owner": Form.ID,
            "notes": Form.WORDS,
            "content": Form.LABELS,
            "parts": Form.LABELS,
        },
        time="updated_at",
        needed="r.expires_at IS NULL OR r.expires_at > now() OR r.completed_at IS NOT NULL",
        key="recommendation_id",
        children=("recommendation_event", "measurement"),
        days=800,
    ),
    Collection(
        name="optimizer.recommendation_event",
        table="recommendation_event",
        description="Steps of recommendations, and who took them; they go with it.",
        subjects={"actor": Form.ID, "note": Form.WORDS},
    ),
    Collection(
        name="optimizer.recommendation_change",
        table="recommendation_change",
        description="The feed of recommendations; consumed facts go by the feed's own time.",
        subjects={"payload": Form.PAYLOAD},
    ),
    Collection(
        name="optimizer.run",
        table="run",
        description="Runs of the optimizer, and what they looked at.",
        subjects={"filter": Form.WORDS, "error": Form.WORDS},
        time="ended_at",
        needed="r.ended_at IS NULL",
        key="run_id",
        children=("run_target",),
        days=400,
    ),
)

RECORDS: Final = Records(
    service="optimizer",
    collections=(*_COLLECTIONS, *kernel_collections("optimizer")),
    exempt=KERNEL_EXEMPT | {"attempt_day.error_code": "a code of the provider's"},
)
