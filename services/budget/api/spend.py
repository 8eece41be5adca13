"""The part of BudgetService that decides whether work may spend."""

from __future__ import annotations

from typing import Any

import grpc
from finops.budget.v1 import spend_messages_pb2 as messages

from services.budget.api.tenant import as_tenant
from services.budget.convert import spend as convert
from services.budget.service.asking import Asking
from services.budget.service.spend_lists import SpendLists
from services.budget.service.spending import Spending
from services.kernel.caller import current_caller
from services.kernel.idempotency import answers_repetitions

Context = grpc.aio.ServicerContext[Any, Any]


class SpendMethods:
    """The RPCs about spend. The servicer that has them sets the use cases."""

    _asking: Asking
    _spending: Spending
    _spend_lists: SpendLists

    @answers_repetitions
    async def AuthorizeSpend(
        self, request: messages.AuthorizeSpendRequest, _: Context
    ) -> messages.AuthorizeSpendResponse:
        """Holds an amount in every covering budget, or in none."""
        tenant_id = as_tenant(request.tenant_id)
        question = convert.to_question(request, tenant_id, current_caller())
        decided = await self._asking.authorize_spend(question)
        return convert.from_decided(decided)

    @answers_repetitions
    async def SettleSpend(
        self, request: messages.SettleSpendRequest, _: Context
    ) -> messages.SettleSpendResponse:
        """Replaces a hold by the real cost."""
        settle = convert.to_settle(request, as_tenant(request.tenant_id))
        ended = await self._spending.settle_spend(settle)
        return messages.SettleSpendResponse(spend_authorization=convert.from_authorization(ended))

    @answers_repetitions
    async def ReleaseSpend(
        self, request: messages.ReleaseSpendRequest, _: Context
    ) -> messages.ReleaseSpendResponse:
        """Gives a hold back."""
        release = convert.to_release(request, as_tenant(request.tenant_id))
        ended = await self._spending.release_spend(release)
        return messages.ReleaseSpendResponse(spend_authorization=convert.from_authorization(ended))

    async def ExplainAuthorization(
        self, request: messages.ExplainAuthorizationRequest, _: Context
    ) -> messages.ExplainAuthorizationResponse:
        """Gets a past decision."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._spending.explain_authorization(tenant_id, request.authorization_id)
        return messages.ExplainAuthorizationResponse(
            spend_authorization=convert.from_authorization(found)
        )

    async def ListSpendAuthorizations(
        self, request: messages.ListSpendAuthorizationsRequest, _: Context
    ) -> messages.ListSpendAuthorizationsResponse:
        """Lists past decisions."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_page(await self._spend_lists.list_spend_authorizations(page))
