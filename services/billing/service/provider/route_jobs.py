"""Carries every route of usage to a provider's meters on, each as a job of its own."""

from __future__ import annotations

import structlog
from opentelemetry import metrics

from services.billing.service.provider.port import ProviderFault
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.pushing import Pushing
from services.billing.service.provider.routing import Routing
from services.billing.service.provider.steps import Steps, StepWaits
from services.billing.store import meter_routes as rows
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import Error
from services.kernel.jobs import Job, enqueue

ROUTES_JOB = "provider_meter_routes"
ROUTE_JOB = "provider_meter_route"
# A route that fails waits up to 15 minutes for its next attempt, so this is most of a day; then it
# is a dead job for somebody to look at, and the next tick begins anew.
ROUTE_ATTEMPTS = 100

log = structlog.get_logger(__name__)
_failures = metrics.get_meter("finops.billing").create_counter(
    "finops_meter_route_failures_total",
    description="Attempts to carry a meter route on that failed, by kind.",
)


class RouteJobs:
    """What the queue does about routes."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        steps: Steps,
        pushing: Pushing,
        *,
        clock: Clock,
    ) -> None:
        """Takes what carries a route on."""
        self._database = database
        self.routing = Routing(database, providers, steps, pushing, clock=clock)

    async def run(self, _: Job) -> None:
        """Queues each subscription's route for itself, so that none holds another up."""
        async with self._database.system_transaction() as tx:
            for tenant_id, subscription_id in await rows.wanted_routes(tx):
                await enqueue(
                    tx,
                    ROUTE_JOB,
                    subscription_id.encode(),
                    tenant_id=tenant_id,
                    key=f"{ROUTE_JOB}:{tenant_id}:{subscription_id}",
                )

    async def run_one(self, job: Job) -> None:
        """Carries a subscription's route on: the queue's handler.

        What waits for the provider, or for a person, is looked at again with the next tick. What
        nobody expected is told and counted, and the queue tries again, later each time.
        """
        tenant_id, subscription_id = str(job.tenant_id), job.payload.decode()
        try:
            await self.routing.advance(tenant_id, subscription_id)
        except (StepWaits, ProviderFault, Error) as fault:
            _failures.add(1, {"kind": type(fault).__name__})
            log.warning(
                "meter route waits",
                tenant=tenant_id,
                subscription=subscription_id,
                error=str(fault),
            )
        except Exception:
            _failures.add(1, {"kind": "unexpected"})
            log.exception(
                "meter route failed",
                tenant=tenant_id,
                subscription=subscription_id,
                attempt=job.attempt,
            )
            raise
