"""Tokens of the local stack, signed with its own secret."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import jwt

from cli.errors import UsageError
from cli.stack.keys import StackKeys
from services.kernel import permissions

ISSUER = "finops"
AUDIENCE = "finops"
# Services sign their own tokens, with another secret.
ROLES = tuple(role for role in permissions.ROLES if role != "service")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LIFE_MAX = timedelta(days=3660)


def sign_token(
    keys: StackKeys,
    *,
    tenant: str,
    subject: str,
    roles: Sequence[str],
    now: datetime,
    life: timedelta,
) -> str:
    """Returns a JWT (HS256) that the services of the stack accept until `now + life`."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "tenant": tenant,
        "roles": list(roles),
        "iat": int(now.timestamp()),
        "exp": int((now + life).timestamp()),
        "jti": uuid.uuid4().hex,
    }
    return jwt.encode(claims, keys.jwt_secret, algorithm="HS256")


def parse_life(text: str) -> timedelta:
    """Returns the duration of a text such as `90m`, `24h`, `30d`. Raises UsageError."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhdw])", text)
    if match is None:
        raise UsageError(f"{text!r} is not a duration; write for example 30m, 24h or 90d")
    life = timedelta(seconds=int(match.group(1)) * _UNITS[match.group(2)])
    if life > _LIFE_MAX:
        raise UsageError(f"{text!r} is longer than ten years")
    return life


def require_roles(roles: Sequence[str]) -> None:
    """Raises UsageError when a role does not exist."""
    for role in roles:
        if role not in ROLES:
            raise UsageError(f"There is no role {role!r}; the roles are {', '.join(ROLES)}")
