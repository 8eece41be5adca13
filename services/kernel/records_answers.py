"""Answers kept for repeated calls, which may name a person as any message can."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.kernel.audit_subjects import PARTICULARS
from services.kernel.envelope import FORMAT, Envelope
from services.kernel.idempotency import answer_purpose
from services.kernel.records import PERSON_FIELDS, WORD_FIELDS
from services.kernel.records_person import Person
from services.kernel.transaction import Transaction

_READ = 500  # answers held in memory at once


class StoredAnswers:
    """The answers of one service."""

    def __init__(self, envelope: Envelope) -> None:
        """envelope: opens those that are sealed."""
        self._envelope = envelope

    async def replace(
        self, tx: Transaction, tenant_id: str, person: Person, *, dry_run: bool
    ) -> int:
        """Puts the pseudonym in answers that name the person, and returns in how many.

        They are kept, and not deleted, so that a repeated call still takes effect once.
        """
        count, last = 0, ("", "")
        while True:
            rows = await tx.driver.fetch(
                "SELECT method, request_id, response FROM idempotent_response"
                " WHERE tenant_id = $1 AND (method, request_id) > ($2, $3)"
                " ORDER BY method, request_id LIMIT $4",
                tenant_id,
                *last,
                _READ,
            )
            for method, request_id, response in rows:
                count += await self._replace(
                    tx, (tenant_id, method, request_id), response, person, dry_run=dry_run
                )
                last = (method, request_id)
            if len(rows) < _READ:
                return count

    async def _replace(
        self,
        tx: Transaction,
        key: tuple[str, str, str],
        response: bytes,
        person: Person,
        *,
        dry_run: bool,
    ) -> int:
        tenant_id, method, request_id = key
        purpose = answer_purpose(method, request_id)
        is_sealed = response[:1] == bytes([FORMAT])
        content = (
            await self._envelope.open(tx, tenant_id, response, purpose) if is_sealed else response
        )
        if not any(each.encode() in content for each in person.spellings_in_words()):
            return 0
        service, _, name = method.removeprefix("/").rpartition("/")
        described = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name)
        answer = message_factory.GetMessageClass(described.output_type).FromString(content)
        if not put(answer, person, is_changing=not dry_run):
            return 0
        if not dry_run:
            changed = answer.SerializeToString()
            if is_sealed:
                changed = await self._envelope.seal(tx, tenant_id, changed, purpose)
            await tx.driver.execute(
                "UPDATE idempotent_response SET response = $4"
                " WHERE tenant_id = $1 AND method = $2 AND request_id = $3",
                *key,
                changed,
            )
        return 1


def put(message: Message, person: Person, *, is_changing: bool) -> bool:
    """Puts the pseudonym under the fields of persons and in maps; tells whether any named them.

    A message that is the person, with an id and a mail, loses what else it says of them.
    """
    found = False
    names = message.DESCRIPTOR.fields_by_name
    if "email" in names and getattr(message, "user_id", "") == person.subject_id and is_changing:
        for name in PARTICULARS:
            message.ClearField(name)
    for descriptor, value in message.ListFields():
        if _is_map(descriptor):
            found |= _put_map(value, person, is_changing=is_changing)
        elif descriptor.message_type is not None:
            for item in value if descriptor.is_repeated else [value]:
                found |= put(item, person, is_changing=is_changing)
        else:
            changed = _changed(descriptor.name, value, person)
            found |= changed is not None
            if changed is not None and is_changing:
                _set(message, descriptor, changed)
    return found


def _changed(name: str, value: Any, person: Person) -> Any:
    """Returns the value of a field with the pseudonym in it, None where it names nobody."""
    if name in WORD_FIELDS and isinstance(value, str):
        words = person.in_words(value)
        return words if words != value else None
    if name not in PERSON_FIELDS:
        return None
    if value == person.subject_id:
        return person.pseudonym
    if isinstance(value, str) or person.subject_id not in value:
        return None
    return [person.pseudonym if item == person.subject_id else item for item in value]


def _set(message: Message, descriptor: FieldDescriptor, value: Any) -> None:
    if descriptor.is_repeated:
        getattr(message, descriptor.name)[:] = value
    else:
        setattr(message, descriptor.name, value)


def _is_map(descriptor: FieldDescriptor) -> bool:
    kind = descriptor.message_type
    return kind is not None and kind.GetOptions().map_entry


def _put_map(values: Any, person: Person, *, is_changing: bool) -> bool:
    found = False
    for key in list(values):
        if isinstance(values[key], Message):
            found |= put(values[key], person, is_changing=is_changing)
        elif values[key] == person.subject_id:
            found = True
            if is_changing:
                values[key] = person.pseudonym
    return found
