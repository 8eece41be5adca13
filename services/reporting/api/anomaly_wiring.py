"""Wires the detection of anomalies: a part of the bootstrap, which is one readable list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import grpc
from finops.reporting.v1 import anomaly_service_pb2_grpc, reporting_service_pb2_grpc

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from services.kernel.server import Register
from services.reporting.api.anomalies import AnomalyServicer
from services.reporting.api.anomaly_settings import AnomalySettingsServicer
from services.reporting.convert.anomaly_events_peer import StubUsageEvents
from services.reporting.convert.notifications import BudgetNotifier
from services.reporting.convert.peers import StubUsageReader
from services.reporting.service.anomalies import Anomalies, anomaly_feed
from services.reporting.service.anomaly_events import AnomalyEvents
from services.reporting.service.anomaly_notices import AnomalyNotices
from services.reporting.service.anomaly_settings import AnomalyRules
from services.reporting.service.detecting import Detection
from services.reporting.settings import ReportingSettings


@dataclass(frozen=True, slots=True)
class Watching:
    """The detection, and what people do with what it finds."""

    servicers: Sequence[Register]
    detection: Detection
    notices: AnomalyNotices
    anomalies: Anomalies


def build_anomalies(
    database: Database,
    usage: grpc.aio.Channel,
    budget: grpc.aio.Channel | None,
    settings: ReportingSettings,
    *,
    clock: Clock,
) -> Watching:
    """Makes the detection. budget: that service, which sends notices; None without."""
    reader = StubUsageReader(usage)
    tokens = PageTokens(settings.page_token_secret)
    feed = anomaly_feed(database)
    notifier = BudgetNotifier(budget) if budget is not None else None
    notices = AnomalyNotices(database, notifier, public_url=settings.public_url)
    anomalies = Anomalies(database, reader, feed, tokens=tokens, clock=clock)
    rules = AnomalyRules(
        database, reader, feed, can_send=notifier is not None, tokens=tokens, clock=clock
    )
    events = AnomalyEvents(database, StubUsageEvents(usage), tokens=tokens)
    return Watching(
        servicers=[
            partial(
                reporting_service_pb2_grpc.add_AnomalyServiceServicer_to_server,
                AnomalyServicer(anomalies=anomalies),
            ),
            partial(
                anomaly_service_pb2_grpc.add_AnomalySettingsServiceServicer_to_server,
                AnomalySettingsServicer(rules=rules, events=events),
            ),
        ],
        detection=Detection(database, reader, feed, news=notices.queue, clock=clock),
        notices=notices,
        anomalies=anomalies,
    )
