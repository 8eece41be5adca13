"""Keeps notification channels, their secrets and what goes to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from services.budget.domain.alert_errors import (
    ChannelDoesNotSign,
    ChannelNotFound,
    EventSubscriptionNotFound,
    etag_of,
    require_etag,
)
from services.budget.domain.channel import (
    Channel,
    ChannelKind,
    ChannelSecrets,
    address_hint,
    require_sendable,
)
from services.budget.domain.egress import EgressPolicy
from services.budget.domain.notification import EventSubscription
from services.budget.service.apprises import apprise_service
from services.budget.service.channel_secrets import (
    PREVIOUS_PURPOSE,
    new_signing_secret,
    open_secrets,
    seal_secrets,
)
from services.budget.service.egress import checked_address
from services.budget.store import channels as store
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.envelope import Envelope
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens


class Channels:
    """A tenant's notification channels."""

    def __init__(
        self,
        database: Database,
        envelope: Envelope,
        policy: EgressPolicy,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """Takes what seals secrets, and where channels may lead."""
        self._database = database
        self._envelope = envelope
        self._policy = policy
        self._tokens = tokens
        self._clock = clock

    async def create_notification_channel(
        self, tenant_id: str, draft: Channel, secrets: ChannelSecrets
    ) -> Channel:
        """Adds a channel; its id and instants are made here.

        Raises InvalidChannel, AddressRefused, EncryptionNotConfigured.
        """
        now = self._clock.now()
        if draft.kind is ChannelKind.WEBHOOK and not secrets.signing_secret:
            secrets = replace(secrets, signing_secret=new_signing_secret())
        channel = replace(
            _completed(draft, secrets),
            tenant_id=tenant_id,
            channel_id=new_id(),
            created_at=now,
            updated_at=now,
        )
        await self._require_usable(channel, secrets)
        async with self._database.transaction(tenant_id) as tx:
            sealed = await seal_secrets(self._envelope, tx, tenant_id, secrets)
            await store.insert_channel(tx, channel, sealed)
            await _audit(tx, "channels.create", channel.channel_id, after=_state(channel))
        return channel

    async def get_notification_channel(self, tenant_id: str, channel_id: str) -> Channel:
        """Returns a channel with its health. Raises ChannelNotFound."""
        async with self._database.read(tenant_id) as tx:
            channel = await store.find_channel(tx, tenant_id, channel_id)
        if channel is None:
            raise ChannelNotFound(channel_id=channel_id)
        return channel

    async def list_notification_channels(self, page: PageRequest) -> Page[Channel]:
        """Returns channels. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await store.list_channels(tx, page, self._tokens)

    async def update_notification_channel(
        self,
        tenant_id: str,
        channel_id: str,
        etag: str,
        change: Callable[[Channel, ChannelSecrets], tuple[Channel, ChannelSecrets]],
    ) -> Channel:
        """Changes a channel. Raises ChannelNotFound, AlertResourceChanged, InvalidChannel.

        The address is checked before the transaction that stores it, and again when it sends.
        """
        async with self._database.read(tenant_id) as tx:
            await self._require_usable(*change(*await self._opened(tx, tenant_id, channel_id)))
        async with self._database.transaction(tenant_id) as tx:
            before, secrets = await self._opened(tx, tenant_id, channel_id, for_update=True)
            require_etag(etag, etag_of(channel_id, before.revision))
            changed, secrets = change(before, secrets)
            after = replace(
                _completed(changed, secrets),
                channel_id=channel_id,
                tenant_id=tenant_id,
                created_at=before.created_at,
                updated_at=self._clock.now(),
                revision=before.revision + 1,
            )
            require_sendable(after, secrets)
            sealed = await seal_secrets(self._envelope, tx, tenant_id, secrets)
            await store.update_channel(tx, after, sealed)
            await _audit(
                tx, "channels.update", channel_id, before=_state(before), after=_state(after)
            )
        return after

    async def delete_notification_channel(self, tenant_id: str, channel_id: str, etag: str) -> None:
        """Removes a channel, its secrets and its subscriptions; its deliveries stay in the log.

        Raises ChannelNotFound, AlertResourceChanged.
        """
        async with self._database.transaction(tenant_id) as tx:
            before = await store.find_channel(tx, tenant_id, channel_id, for_update=True)
            if before is None:
                raise ChannelNotFound(channel_id=channel_id)
            require_etag(etag, etag_of(channel_id, before.revision))
            await store.delete_channel(tx, tenant_id, channel_id)
            await _audit(tx, "channels.delete", channel_id, before=_state(before))

    async def rotate_channel_secret(
        self, tenant_id: str, channel_id: str, overlap: timedelta
    ) -> tuple[str, datetime]:
        """Returns a new signing secret, and until when the old one signs beside it.

        Raises ChannelNotFound, ChannelDoesNotSign.
        """
        expires_at = self._clock.now() + overlap
        async with self._database.transaction(tenant_id) as tx:
            channel, secrets = await self._opened(tx, tenant_id, channel_id, for_update=True)
            if channel.kind is not ChannelKind.WEBHOOK:
                raise ChannelDoesNotSign(channel_id=channel_id, kind=channel.kind.value)
            previous = await self._envelope.seal(
                tx, tenant_id, secrets.signing_secret.encode(), PREVIOUS_PURPOSE
            )
            rotated = replace(secrets, signing_secret=new_signing_secret())
            after = replace(channel, revision=channel.revision + 1, updated_at=self._clock.now())
            await store.update_channel(
                tx, after, await seal_secrets(self._envelope, tx, tenant_id, rotated)
            )
            await store.keep_previous_secret(tx, after, previous, expires_at)
            state = {"previous_secret_expires_at": expires_at}
            await _audit(tx, "channels.rotate_secret", channel_id, after=state)
        return rotated.signing_secret, expires_at

    async def _opened(
        self, tx: Transaction, tenant_id: str, channel_id: str, *, for_update: bool = False
    ) -> tuple[Channel, ChannelSecrets]:
        row = await store.channel_row(tx, tenant_id, channel_id, for_update=for_update)
        if row is None:
            raise ChannelNotFound(channel_id=channel_id)
        secrets = await open_secrets(self._envelope, tx, tenant_id, row["secrets"])
        return store.channel_of(row), secrets

    async def _require_usable(self, channel: Channel, secrets: ChannelSecrets) -> None:
        """Refuses what could never send, and an address inside this network."""
        require_sendable(channel, secrets)
        if channel.kind is ChannelKind.EMAIL:
            return
        host, port = "", 0
        if channel.kind is ChannelKind.WEBHOOK:
            parts = urlsplit(secrets.address)
            host, port = parts.hostname or "", parts.port or 443
        else:
            service = apprise_service(channel.kind, secrets.address)
            host, port = str(getattr(service, "host", "") or ""), 443
        if host:
            await _require_outside(self._policy, host, port)


class EventSubscriptions:
    """A tenant's event subscriptions."""

    def __init__(self, database: Database, *, tokens: PageTokens, clock: Clock) -> None:
        """Takes the service's database."""
        self._database = database
        self._tokens = tokens
        self._clock = clock

    async def create_event_subscription(
        self, tenant_id: str, draft: EventSubscription
    ) -> EventSubscription:
        """Adds a subscription; its id and instant are made here. Raises ChannelNotFound."""
        made = replace(draft, subscription_id=new_id(), created_at=self._clock.now())
        async with self._database.transaction(tenant_id) as tx:
            await _require_channel(tx, tenant_id, made.channel_id)
            await store.insert_subscription(tx, tenant_id, made)
            await _audit(tx, "subscriptions.create", made.subscription_id, after=_kept(made))
        return made

    async def list_event_subscriptions(self, page: PageRequest) -> Page[EventSubscription]:
        """Returns subscriptions. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await store.list_subscriptions(tx, page, self._tokens)

    async def update_event_subscription(
        self,
        tenant_id: str,
        subscription_id: str,
        etag: str,
        change: Callable[[EventSubscription], EventSubscription],
    ) -> EventSubscription:
        """Changes a subscription. Raises EventSubscriptionNotFound, ChannelNotFound."""
        async with self._database.transaction(tenant_id) as tx:
            before = await self._locked(tx, tenant_id, subscription_id, etag)
            after = replace(
                change(before),
                subscription_id=subscription_id,
                created_at=before.created_at,
                revision=before.revision + 1,
            )
            await _require_channel(tx, tenant_id, after.channel_id)
            await store.update_subscription(tx, tenant_id, after)
            await _audit(
                tx,
                "subscriptions.update",
                subscription_id,
                before=_kept(before),
                after=_kept(after),
            )
        return after

    async def delete_event_subscription(
        self, tenant_id: str, subscription_id: str, etag: str
    ) -> None:
        """Removes a subscription. Raises EventSubscriptionNotFound, AlertResourceChanged."""
        async with self._database.transaction(tenant_id) as tx:
            before = await self._locked(tx, tenant_id, subscription_id, etag)
            await store.delete_subscription(tx, tenant_id, subscription_id)
            await _audit(tx, "subscriptions.delete", subscription_id, before=_kept(before))

    async def _locked(
        self, tx: Transaction, tenant_id: str, subscription_id: str, etag: str
    ) -> EventSubscription:
        found = await store.lock_subscription(tx, tenant_id, subscription_id)
        if found is None:
            raise EventSubscriptionNotFound(subscription_id=subscription_id)
        require_etag(etag, etag_of(subscription_id, found.revision))
        return found


async def _require_outside(policy: EgressPolicy, host: str, port: int) -> None:
    """Refuses a host that is inside now. One that does not resolve may do so later."""
    try:
        await checked_address(policy, host, port)
    except (OSError, TimeoutError, UnicodeError):
        return


async def _require_channel(tx: Transaction, tenant_id: str, channel_id: str) -> None:
    if not await store.channels_of(tx, tenant_id, [channel_id]):
        raise ChannelNotFound(channel_id=channel_id)


def _completed(channel: Channel, secrets: ChannelSecrets) -> Channel:
    """Returns the channel with what is shown of its secrets."""
    hint = address_hint(channel.kind, secrets.address) if secrets.address else ""
    return replace(channel, address_hint=hint, header_names=tuple(sorted(secrets.headers)))


async def _audit(
    tx: Transaction,
    action: str,
    resource_id: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    noun = action.partition(".")[0]
    await audit.append(
        tx, action=action, resource=f"{noun}/{resource_id}", before=before, after=after
    )


def _state(channel: Channel) -> dict[str, Any]:
    return {
        "display_name": channel.display_name,
        "kind": channel.kind.value,
        "address_hint": channel.address_hint,
        "header_names": list(channel.header_names),
        "receivers": len(channel.email_addresses),
        "severity_min": channel.severity_min.value,
        "is_disabled": channel.is_disabled,
        "revision": channel.revision,
    }


def _kept(subscription: EventSubscription) -> dict[str, Any]:
    return asdict(subscription) | {"event_types": list(subscription.event_types)}
