"""What the usage service keeps, as kernel.records_keeping lists, erases and removes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from services.kernel.envelope import Envelope
from services.kernel.records import Collection, Form, Records, Sealed, Special
from services.kernel.records_kernel import KERNEL_EXEMPT, kernel_collections
from services.kernel.records_person import Person, Question
from services.kernel.transaction import Transaction
from services.usage.store import erasures

_COLUMNS: Final = {"user_id": (Form.ID, "text"), "tags": (Form.LABELS, "jsonb")}


class Dimensions:
    """Attributes of usage, by whose number events, changes and sums name them.

    So an erasure changes few rows, however many events the person caused, and no amount.
    """

    def __init__(self, envelope: Envelope) -> None:
        """envelope: keeps what later usage of the person is known by."""
        self._envelope = envelope

    async def count(self, tx: Transaction, tenant_id: str, subject_id: str) -> int:
        """Returns how many combinations name the person."""
        question = Question()
        where = self._where(question, tenant_id, Person(subject_id))
        query = f"SELECT count(*) FROM usage.dimension r WHERE {where}"
        return int(await tx.driver.fetchval(query, *question.values))

    async def erase(self, tx: Transaction, tenant_id: str, subject_id: str, pseudonym: str) -> int:
        """Notes the erasure for usage that comes later, and replaces the person in what is there.

        The rows' digests become random: nobody can be found by trying ids, and a second erasure
        under the same pseudonym meets no row that looks alike.
        """
        await erasures.add(tx, self._envelope, tenant_id, subject_id, pseudonym)
        question, person = Question(), Person(subject_id, pseudonym)
        where = self._where(question, tenant_id, person)
        sets = ", ".join(
            f"{name} = {person.replaced(question, f'r.{name}', form, kind)}"
            for name, (form, kind) in _COLUMNS.items()
        )
        status = await tx.driver.execute(
            f"UPDATE usage.dimension r SET {sets}, digest = uuid_send(gen_random_uuid())"
            f" WHERE {where}",
            *question.values,
        )
        return int(status.removeprefix("UPDATE "))

    async def export(self, tx: Transaction, tenant_id: str, subject_id: str) -> AsyncIterator[str]:
        """Yields the person's events of every combination, with its attributes."""
        question = Question()
        where = self._where(question, tenant_id, Person(subject_id))
        query = (
            "SELECT (to_jsonb(e) || jsonb_build_object('attributes', to_jsonb(r) - 'digest'))::text"
            " FROM usage.dimension r JOIN usage.event e USING (tenant_id, dimension_id)"
            f" WHERE r.{where}"
        )
        async for row in tx.driver.cursor(query, *question.values, prefetch=1_000):
            yield row[0]

    def _where(self, question: Question, tenant_id: str, person: Person) -> str:
        tenant = f"tenant_id = {question.bind(tenant_id)}"
        named = " OR ".join(
            person.condition(question, f"r.{name}", form, kind)
            for name, (form, kind) in _COLUMNS.items()
        )
        return f"{tenant} AND ({named})"


def records_of(envelope: Envelope, archive: Special) -> Records:
    """Returns what the service keeps. archive: its files of past months."""
    return Records(
        service="usage",
        collections=(
            Collection(
                name="usage.archive",
                table="",
                description="Files of archived months of usage.",
                special=archive,
            ),
            *_COLLECTIONS,
            *kernel_collections("usage"),
            # The last one: no usage comes in from then on until the erasure has committed.
            Collection(
                name="usage.event",
                table="",
                description="Usage with who caused it; months past their time go to the archive.",
                special=Dimensions(envelope),
            ),
        ),
        exempt=_EXEMPT,
        sealed=(Sealed("erasure_key", "sealed", ("tenant_id",), lambda _: erasures.PURPOSE),),
    )


_COLLECTIONS: Final = (
    Collection(
        name="usage.bill_row",
        table="event",
        description="What rows of imported bills say beyond an event, and why events were amended.",
        subjects={"bill_columns": Form.LABELS, "amend_reason": Form.WORDS},
    ),
    Collection(
        name="usage.user",
        table="directory_user",
        description="Persons, their department and manager. Erased, their place in the line stays.",
        subjects={"user_id": Form.ID, "manager_id": Form.ID},
        blanked=("display_name", "email"),
        key="user_id",
        unique=True,
    ),
    Collection(
        name="usage.allocation_rule",
        table="allocation_rule",
        description="Rules that share cost, some by person.",
        subjects={"source": Form.LABELS, "targets": Form.LABELS},
    ),
    Collection(
        name="usage.import",
        table="import_file",
        description="Imported files, with what was rejected of them.",
        subjects={"file_name": Form.WORDS, "failure": Form.WORDS},
        time="updated_at",
        needed="r.state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED')",
        key="import_id",
        children=("import_part", "import_reject"),
        days=400,
    ),
    Collection(
        name="usage.import_reject",
        table="import_reject",
        description="Rows of imports that were rejected; they go with the import.",
        subjects={"excerpt": Form.WORDS, "reject_reason": Form.WORDS},
    ),
)

_EXEMPT: Final = KERNEL_EXEMPT | {
    "dimension.user_id": "in usage.event",
    "dimension.tags": "in usage.event",
    "event.components": "meters and quantities",
    "event.error_code": "a code of the provider's",
    "peak_schedule.windows": "hours of weekdays",
    "price.tiers": "quantities and prices",
    "rate_plan.lines": "meters and prices",
}
