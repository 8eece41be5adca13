"""Names of persons in the audit log: tokens in the chain, ids beside it.

The chain can never be changed, and an erased person must not be found in it. So an entry names a
person by a random token, and one row beside the chain says whose it is. Erasing changes that row:
every entry keeps its hash and reads as the pseudonym's from then on.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.kernel.records import PERSON_FIELDS
from services.kernel.transaction import Transaction

PREFIX: Final = "person~"  # `~` is in no resource id, so nobody is called so
TOKEN: Final = re.compile(PREFIX + r"[0-9a-f]{32}", re.ASCII)
# Those are no persons: they are named as they are.
_PROGRAMS: Final = re.compile(r"(service|api_key|schedule|system)[: ]|(.* )?worker$", re.ASCII)
_RESOURCES: Final = ("users/",)
# What a state says of a person beside their id. The chain keeps that it was set, and not what it
# was, so that one row beside it is all that an erasure has to change.
PARTICULARS: Final = ("display_name", "email")


class Names:
    """The persons that one entry names, and what stands for each."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """tokens: by the person's id."""
        self._tokens = tokens

    def of(self, subject_id: str) -> str:
        """Returns what stands for a person or program."""
        return self._tokens.get(subject_id, subject_id)

    def in_resource(self, resource: str) -> str:
        """Returns a resource's name with the token in it."""
        for prefix in _RESOURCES:
            if resource.startswith(prefix):
                return prefix + self.of(resource.removeprefix(prefix))
        return resource

    def in_state(self, state: str | None) -> str | None:
        """Returns canonical JSON with tokens under the fields of persons."""
        if state is None or not self._tokens:
            return state
        replaced = _replaced(json.loads(state), self)
        return json.dumps(replaced, sort_keys=True, separators=(",", ":"), allow_nan=False)


async def names_in(
    tx: Transaction, tenant_id: str, *, actor: str, resource: str, states: Iterable[str | None]
) -> Names:
    """Returns the tokens of all persons that an entry names, making those that are new."""
    found = set() if _PROGRAMS.match(actor) else {actor}
    found.update(resource.removeprefix(each) for each in _RESOURCES if resource.startswith(each))
    for state in states:
        if state is not None:
            _collect(json.loads(state), found)
    persons = sorted(found - {""})
    if not persons:
        return Names({})
    rows = await tx.driver.fetch(
        """
        WITH fresh AS (
            INSERT INTO audit_subject (tenant_id, token, subject_id)
            SELECT $1, new.* FROM unnest($2::text[], $3::text[]) AS new
            ON CONFLICT (tenant_id, subject_id) DO UPDATE SET token = audit_subject.token
            RETURNING subject_id, token
        ) SELECT subject_id, token FROM fresh
        """,
        tenant_id,
        [PREFIX + secrets.token_hex(16) for _ in persons],
        persons,
    )
    return Names({row["subject_id"]: row["token"] for row in rows})


async def resolve(tx: Transaction, tenant_id: str, texts: Iterable[str | None]) -> dict[str, str]:
    """Returns whose the tokens in some texts are."""
    tokens = sorted({token for each in texts if each for token in TOKEN.findall(each)})
    if not tokens:
        return {}
    rows = await tx.driver.fetch(
        "SELECT token, subject_id FROM audit_subject WHERE tenant_id = $1 AND token = ANY($2)",
        tenant_id,
        tokens,
    )
    return {row["token"]: row["subject_id"] for row in rows}


def readable(content: str, persons: Mapping[str, str]) -> str:
    """Returns a text with the persons named again."""
    return TOKEN.sub(lambda found: persons.get(found[0], found[0]), content)


def readable_state(state: str | None, persons: Mapping[str, str]) -> str | None:
    """Returns JSON with the persons named again."""
    if state is None:
        return None
    quoted = {token: json.dumps(person)[1:-1] for token, person in persons.items()}
    return readable(state, quoted)


async def erase(
    tx: Transaction, tenant_id: str, subject_id: str, pseudonym: str, *, dry_run: bool
) -> int:
    """Makes a person's token the pseudonym's; returns 1 where there was one.

    A person that came back after an erasure has another token, which becomes the pseudonym's too,
    told apart by a number.
    """
    token = await tx.driver.fetchval(
        "SELECT token FROM audit_subject WHERE tenant_id = $1 AND subject_id = $2 FOR UPDATE",
        tenant_id,
        subject_id,
    )
    if token is None:
        return 0
    if not dry_run:
        taken = await tx.driver.fetchval(
            "SELECT count(*) FROM audit_subject WHERE tenant_id = $1"
            " AND (subject_id = $2 OR starts_with(subject_id, $2 || '.'))",
            tenant_id,
            pseudonym,
        )
        await tx.driver.execute(
            "UPDATE audit_subject SET subject_id = $3 WHERE tenant_id = $1 AND token = $2",
            tenant_id,
            token,
            f"{pseudonym}.{taken + 1}" if taken else pseudonym,
        )
    return 1


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        hidden = PARTICULARS if _is_person(value) else ()
        for name, item in value.items():
            if name in hidden:
                continue
            if name not in PERSON_FIELDS:
                _collect(item, found)
            elif isinstance(item, str):
                found.add(item)
            elif isinstance(item, list):
                found.update(each for each in item if isinstance(each, str))
            else:
                _collect(item, found)


def _replaced(value: Any, names: Names) -> Any:
    if isinstance(value, list):
        return [_replaced(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    hidden = PARTICULARS if _is_person(value) else ()
    return {
        name: f"{names.of(value['user_id'])}'s {name}"
        if name in hidden and item
        else _put(item, names)
        if name in PERSON_FIELDS
        else _replaced(item, names)
        for name, item in value.items()
    }


def _is_person(value: Mapping[str, Any]) -> bool:
    """Tells whether an object is a person's, and does not only name one."""
    return isinstance(value.get("user_id"), str) and "email" in value


def _put(value: Any, names: Names) -> Any:
    if isinstance(value, str):
        return names.of(value)
    if isinstance(value, list):
        return [_put(item, names) for item in value]
    return _replaced(value, names)
