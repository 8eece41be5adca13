"""What channels send with, sealed and opened."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import datetime
from typing import Any

from services.budget.domain.channel import SECRET_PREFIX, ChannelSecrets
from services.kernel.database import Transaction
from services.kernel.envelope import Envelope

PURPOSE = "channel.secrets"
PREVIOUS_PURPOSE = "channel.previous_secret"
_SECRET_BYTES = 32


def new_signing_secret() -> str:
    """Returns a secret as Standard Webhooks has it, of 256 random bits."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


async def seal_secrets(
    envelope: Envelope, tx: Transaction, tenant_id: str, kept: ChannelSecrets
) -> bytes:
    """Returns the secrets as they are stored. Raises EncryptionNotConfigured."""
    content = {
        "address": kept.address,
        "signing_secret": kept.signing_secret,
        "headers": dict(kept.headers),
    }
    return await envelope.seal(tx, tenant_id, json.dumps(content).encode(), PURPOSE)


async def open_secrets(
    envelope: Envelope, tx: Transaction, tenant_id: str, sealed: bytes
) -> ChannelSecrets:
    """Returns the secrets in clear. Raises DataKeyDestroyed, MasterKeyMissing."""
    content = json.loads(await envelope.open(tx, tenant_id, sealed, PURPOSE))
    return ChannelSecrets(content["address"], content["signing_secret"], content["headers"])


async def previous_secrets(
    envelope: Envelope, tx: Transaction, tenant_id: str, row: Any, now: datetime
) -> tuple[str, ...]:
    """Returns the signing secret before, as long as it signs beside the new one."""
    expires_at = row["previous_secret_expires_at"]
    if expires_at is None or expires_at <= now:
        return ()
    opened = await envelope.open(tx, tenant_id, row["previous_secret"], PREVIOUS_PURPOSE)
    return (opened.decode(),)
