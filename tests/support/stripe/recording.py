"""What was asked of Stripe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request at the edge."""

    operation_id: str
    method: str
    path: str
    parameters: dict[str, Any]
    idempotency_key: str
    version: str
