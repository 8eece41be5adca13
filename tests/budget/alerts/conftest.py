"""A budget service that may send to this machine, and a mail server for it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
from finops.budget.v1 import (
    alert_policy_service_pb2_grpc,
    alert_service_pb2_grpc,
    channel_service_pb2_grpc,
    delivery_service_pb2_grpc,
)
from pydantic import SecretStr

from services.budget import bootstrap
from services.budget.bootstrap import BudgetService
from services.budget.settings import BudgetSettings
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from tests.budget.alerts.alerting import Alerting
from tests.budget.alerts.receiving import Mailbox, smtp_receiver
from tests.budget.conftest import Caller, RunningUsage
from tests.support.server import JWT_SECRET, SERVICE_SECRET, LocalServer, service_token_of

KEY = SecretStr(secrets.token_hex(32))  # one for all tests: the rows of one database need it


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """A real SMTP server."""
    async with smtp_receiver() as server:
        yield server


@pytest.fixture
def settings(mailbox: Mailbox) -> BudgetSettings:
    """Settings that allow channels to this machine, by its address alone."""
    return BudgetSettings(
        jwt_secret=SecretStr(JWT_SECRET),
        service_token_secret=SecretStr(SERVICE_SECRET),
        encryption_keys=(KEY,),
        egress_allow=("127.0.0.1",),
        smtp_url=SecretStr(mailbox.url),
        mail_sender="FinOps <finops@example.com>",
    )


@pytest.fixture
async def built(
    budget_database: Database,
    usage_server: RunningUsage,
    clock: ManualClock,
    settings: BudgetSettings,
) -> BudgetService:
    """The budget service over the test's clock, its workers not running."""
    usage = usage_server.server.channel_with(service_token_of("budget", tenant=""))
    return bootstrap.build(budget_database, usage, settings, clock=clock)


@pytest.fixture
def alerting(
    tenant: str, server: LocalServer, caller: Caller, built: BudgetService, clock: ManualClock
) -> Alerting:
    """The administrator of a tenant that no other test uses."""
    channel = server.channel("org_admin", tenant=tenant)
    return Alerting(
        caller,
        built,
        clock,
        alert_service_pb2_grpc.AlertServiceStub(channel),
        alert_policy_service_pb2_grpc.AlertPolicyServiceStub(channel),
        channel_service_pb2_grpc.ChannelServiceStub(channel),
        delivery_service_pb2_grpc.DeliveryServiceStub(channel),
        delivery_service_pb2_grpc.DeliveryServiceStub(
            server.channel_with(service_token_of("billing", tenant=tenant))
        ),
    )
