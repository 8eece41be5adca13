"""Finds the stack a command speaks to, and how it proves who it is."""

from __future__ import annotations

import getpass
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from finops_sdk import Client
from finops_sdk.streams import pages

from cli.errors import Denied, UsageError
from cli.stack.keys import load_keys
from cli.stack.state import StackState, running_state
from cli.tokens import sign_token
from services.kernel.clock import SystemClock

ALL_TENANTS = "*"
PAGE_SIZE = 1000  # the most that a list gives at once
_LIFE = timedelta(minutes=5)  # each call signs a new one

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Connection:
    """An open client and the tenant that requests name; empty for the token's own."""

    client: Client
    tenant: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def collect(
        self,
        call: Callable[[Any], Awaitable[Any]],
        request: Any,
        items: Callable[[Any], Iterable[_Item]],
        *,
        limit: int | None,
    ) -> list[_Item]:
        """Returns the first items of a list, however many pages they fill.

        call: of the asynchronous client. request: the list's, whose page size is set here.
        items: those of a page. limit: None for all.
        """
        request.page_size = PAGE_SIZE if limit is None else min(limit, PAGE_SIZE)
        found: list[_Item] = []
        for page in self.client.iterate(pages(call, request)):
            found.extend(items(page))
            if limit is not None and len(found) >= limit:
                break
        return found[:limit]


def user_name() -> str:
    """Returns the name of the person at the terminal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without an account, as in containers
        return f"uid-{os.getuid()}"


def open_connection(data_dir: Path, url: str, tenant: str, *, address: str = "") -> Connection:
    """Opens a client: over REST or gRPC to `url`, else over gRPC to the local stack.

    address: the one service of the local stack to speak to, where not each to its own.
    Raises Unreachable when no stack runs here, Denied without a token, UsageError without a tenant.
    """
    if url:
        token = os.environ.get("FINOPS_TOKEN", "")
        if not token:
            raise Denied(
                f"FINOPS_TOKEN is not set; put a token or an API key for {url} into it "
                "(`finops token` makes one on the machine of the stack)"
            )
        try:
            return Connection(Client(url, token), tenant)
        except ValueError as error:
            raise UsageError(str(error)) from None
    state = running_state(data_dir)
    chosen = chosen_tenant(state, tenant)
    return Connection(
        Client(address or local_targets(state), local_token(data_dir, chosen)), chosen
    )


def chosen_tenant(state: StackState, tenant: str) -> str:
    """Returns the tenant that was named, else the demo's. Raises UsageError without either."""
    chosen = tenant or state.demo_tenant
    if not chosen:
        raise UsageError("Say which tenant: --tenant NAME, or FINOPS_TENANT")
    return chosen


def local_targets(state: StackState) -> dict[str, str]:
    """Returns the address of each service; `*`, what every service serves, is the first one's."""
    targets = state.targets
    first = targets.get("usage") or next(iter(targets.values()), "")
    return {**targets, "*": first} if first else {}


def local_token(
    data_dir: Path, tenant: str, *, roles: Sequence[str] = ("org_admin",)
) -> Callable[[], str]:
    """Returns what signs a short token for whoever may read the stack's secrets.

    tenant: `*` signs for all tenants, as a platform admin.
    """
    keys = load_keys(data_dir)
    if keys is None:
        raise Denied(
            f"The secrets of the stack in {data_dir} are missing; run `finops up` as its owner"
        )
    is_for_all = tenant == ALL_TENANTS
    clock = SystemClock()
    return lambda: sign_token(
        keys,
        tenant="platform" if is_for_all else tenant,
        subject=f"cli:{user_name()}",
        roles=["platform_admin"] if is_for_all else roles,
        now=clock.now(),
        life=_LIFE,
    )
