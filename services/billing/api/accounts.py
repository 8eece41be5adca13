"""AccountService: who is billed, and with which credit."""

from __future__ import annotations

from typing import Any

import grpc
from finops.billing.v1 import account_service_pb2 as messages
from finops.billing.v1 import account_service_pb2_grpc

from services.billing.api.tenant import as_tenant
from services.billing.convert import accounts as convert
from services.billing.convert import credits as credit_convert
from services.billing.service.accounts import Accounts
from services.billing.service.credits import Credits
from services.kernel.clock import Clock

Context = grpc.aio.ServicerContext[Any, Any]


class AccountServicer(account_service_pb2_grpc.AccountServiceServicer):
    """Serves AccountService."""

    def __init__(self, *, accounts: Accounts, credits: Credits, clock: Clock) -> None:  # noqa: A002 - what they are
        """Takes the use cases, and the clock for states that time alone changes."""
        self._accounts = accounts
        self._credits = credits
        self._clock = clock

    async def CreateBillingAccount(
        self, request: messages.CreateBillingAccountRequest, _: Context
    ) -> messages.CreateBillingAccountResponse:
        """Creates an account."""
        tenant_id = as_tenant(request.tenant_id)
        time_zone = request.account.time_zone or await self._accounts.time_zone(tenant_id)
        account = convert.to_account(request.account, tenant_id, time_zone=time_zone)
        account = await self._accounts.create_billing_account(account)
        return messages.CreateBillingAccountResponse(account=convert.from_account(account))

    async def GetBillingAccount(
        self, request: messages.GetBillingAccountRequest, _: Context
    ) -> messages.GetBillingAccountResponse:
        """Gets an account."""
        tenant_id = as_tenant(request.tenant_id)
        account = await self._accounts.get_billing_account(tenant_id, request.account_id)
        return messages.GetBillingAccountResponse(account=convert.from_account(account))

    async def ListBillingAccounts(
        self, request: messages.ListBillingAccountsRequest, _: Context
    ) -> messages.ListBillingAccountsResponse:
        """Lists accounts."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListBillingAccounts")
        return convert.from_accounts(await self._accounts.list_billing_accounts(page))

    async def UpdateBillingAccount(
        self, request: messages.UpdateBillingAccountRequest, _: Context
    ) -> messages.UpdateBillingAccountResponse:
        """Changes an account."""
        tenant_id = as_tenant(request.tenant_id)
        change = convert.to_account_change(request)
        wanted = request.account
        account = await self._accounts.update_billing_account(
            tenant_id, wanted.account_id, change, etag=wanted.etag
        )
        return messages.UpdateBillingAccountResponse(account=convert.from_account(account))

    async def DeleteBillingAccount(
        self, request: messages.DeleteBillingAccountRequest, _: Context
    ) -> messages.DeleteBillingAccountResponse:
        """Closes an account."""
        tenant_id = as_tenant(request.tenant_id)
        await self._accounts.delete_billing_account(
            tenant_id, request.account_id, etag=request.etag
        )
        return messages.DeleteBillingAccountResponse()

    async def CreateCreditGrant(
        self, request: messages.CreateCreditGrantRequest, _: Context
    ) -> messages.CreateCreditGrantResponse:
        """Grants credit."""
        tenant_id, now = as_tenant(request.tenant_id), self._clock.now()
        grant = credit_convert.to_grant(request.credit_grant, now)
        account_id = request.credit_grant.account_id
        grant = await self._credits.create_credit_grant(tenant_id, account_id, grant)
        return messages.CreateCreditGrantResponse(
            credit_grant=credit_convert.from_grant(grant, now)
        )

    async def ListCreditGrants(
        self, request: messages.ListCreditGrantsRequest, _: Context
    ) -> messages.ListCreditGrantsResponse:
        """Lists credit."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListCreditGrants")
        found = await self._credits.list_credit_grants(page)
        return credit_convert.from_grants(found, self._clock.now())

    async def VoidCreditGrant(
        self, request: messages.VoidCreditGrantRequest, _: Context
    ) -> messages.VoidCreditGrantResponse:
        """Ends what is left of credit."""
        tenant_id = as_tenant(request.tenant_id)
        grant = await self._credits.void_credit_grant(
            tenant_id, request.credit_grant_id, request.reason
        )
        credit_grant = credit_convert.from_grant(grant, self._clock.now())
        return messages.VoidCreditGrantResponse(credit_grant=credit_grant)

    async def ListCreditTransactions(
        self, request: messages.ListCreditTransactionsRequest, _: Context
    ) -> messages.ListCreditTransactionsResponse:
        """Lists movements of credit."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListCreditTransactions")
        return credit_convert.from_transactions(await self._credits.list_credit_transactions(page))
