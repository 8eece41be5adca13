"""Batches of usage events, serialized ahead so that the load costs the machine little.

Each template is one request of 2,000 events of one tenant with its 200 users and 10 projects. Its
event ids hold a marker that is replaced, all at once, by the batch's number.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime

from finops.usage.v1.usage_model_pb2 import UsageEvent
from finops.usage.v1.usage_service_pb2 import RecordUsageRequest
from google.protobuf.json_format import MessageToDict

TENANTS = 20
USERS = 200
PROJECTS = 10
BATCH_EVENTS = 2_000
_MARKER = "@batch-number@@@"


@dataclass(frozen=True, slots=True)
class Template:
    """A request whose events get new ids with every use."""

    tenant: str
    blob: bytes
    events: int

    def batch(self, number: int) -> bytes:
        """Returns the request with the ids of one batch."""
        return self.blob.replace(_MARKER.encode(), f"{number:0{len(_MARKER)}d}".encode())


def make_event(event: UsageEvent, rng: random.Random, *, index: int, at: float) -> None:
    """Fills in an event: an AI call that is rated here, with user, project and tags."""
    user = rng.randrange(USERS)
    event.event_id = f"{_MARKER}-{index:05d}"
    event.source = "bench"
    event.start_time.seconds = int(at)
    event.start_time.nanos = rng.randrange(1_000_000) * 1_000
    event.resource_type = "llm"
    event.resource_id = "gpt-4o"
    event.unit = "token"
    tokens = (rng.randrange(1, 9_000), rng.randrange(1, 900))
    event.quantity = str(sum(tokens))
    for meter, quantity in zip(("input_token", "output_token"), tokens, strict=True):
        event.components.add(meter=meter, quantity=str(quantity))
    event.user_id = f"user-{user}"
    event.project = f"project-{rng.randrange(PROJECTS)}"
    event.department = f"department-{user % 8}"
    event.provider = "openai"
    event.region = "eu-west-1"
    event.tags["environment"] = "production"
    event.tags["team"] = f"team-{user % 12}"
    event.latency_ms = rng.randrange(100, 9_000)


def templates(seed: int, *, each: int = 3, prefix: str = "bench") -> list[Template]:
    """Returns some templates for each of 20 tenants, of usage in the last hour."""
    rng = random.Random(seed)
    now = datetime.now(UTC).timestamp()
    made = []
    for number in range(TENANTS * each):
        request = RecordUsageRequest()
        for index in range(BATCH_EVENTS):
            make_event(request.events.add(), rng, index=index, at=now - rng.randrange(3_600))
        tenant = f"{prefix}-{number % TENANTS}"
        made.append(Template(tenant, request.SerializeToString(), BATCH_EVENTS))
    return made


def json_template(seed: int, events: int) -> tuple[str, bytes]:
    """Returns a REST body of some events, and the marker in it to replace by a batch's number."""
    rng = random.Random(seed)
    now = datetime.now(UTC).timestamp()
    request = RecordUsageRequest()
    for index in range(events):
        make_event(request.events.add(), rng, index=index, at=now - rng.randrange(3_600))
    return _MARKER, json.dumps(MessageToDict(request)).encode()
