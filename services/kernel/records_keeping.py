"""Lists, exports, erases and removes what a service keeps, as its declaration says.

Works as the service's worker, because feeds and jobs are no caller's to change. Rows change in
bounded batches, each in a transaction of its own, so that nobody waits for long; a call with a
request_id is one transaction all the same. What was killed is called again and goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import false, func, literal_column, not_, or_, select, text, true
from sqlalchemy import table as sql_table

from services.kernel import audit, audit_subjects
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.envelope import Envelope
from services.kernel.filter import compile_filter
from services.kernel.filter.sql import Condition
from services.kernel.records import (
    Collection,
    CollectionKept,
    InvalidPseudonym,
    Records,
    RetentionTooShort,
)
from services.kernel.records_answers import StoredAnswers
from services.kernel.records_person import Person, Question, any_of
from services.kernel.records_tables import TableShape, filter_fields, shape_of

BATCH: Final = 2_000  # rows that one transaction changes or removes
STATEMENT: Final = timedelta(minutes=5)  # a search reads whole tables

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Count:
    """How many records of a collection an operation concerned, and how many a hold kept."""

    collection: str
    records: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class SubjectRecord:
    """One record about a person, as a JSON object."""

    collection: str
    content: str


class RecordKeeping:
    """The use cases over one service's records."""

    def __init__(
        self, database: Database, records: Records, envelope: Envelope, *, clock: Clock
    ) -> None:
        """envelope: opens stored answers that are sealed."""
        self._database = database
        self.records = records
        self._schema = records.service
        self._answers = StoredAnswers(envelope)
        self._clock = clock
        self._shapes: dict[str, TableShape] = {}

    async def export_subject_records(
        self, tenant_id: str, subject_id: str
    ) -> AsyncIterator[SubjectRecord]:
        """Yields what concerns a person, collection by collection."""
        for collection in self.records.collections:
            if not collection.personal:
                continue
            async with self._database.system_transaction(statement_timeout=STATEMENT) as tx:
                if collection.special is not None:
                    found = collection.special.export(tx, tenant_id, subject_id)
                else:
                    found = self._export(tx, collection, tenant_id, subject_id)
                async for content in found:
                    yield SubjectRecord(collection.name, content)

    async def _export(
        self, tx: Transaction, collection: Collection, tenant_id: str, subject_id: str
    ) -> AsyncIterator[str]:
        shape = await self._shape(tx, collection.table)
        question = Question()
        where = self._where(question, collection, shape, tenant_id, Person(subject_id))
        hidden = ", ".join(f"'{name}'" for name in shape.bytes_columns())
        content = f"to_jsonb(r) - ARRAY[{hidden}]::text[]"
        query = f"SELECT ({content})::text FROM {self._schema}.{collection.table} r WHERE {where}"  # noqa: S608 - names are declared in code
        async for row in tx.driver.cursor(query, *question.values, prefetch=BATCH):
            yield row[0]

    async def erase_subject_records(
        self, tenant_id: str, subject_id: str, pseudonym: str, *, dry_run: bool
    ) -> Sequence[Count]:
        """Puts the pseudonym in the person's place everywhere, or counts where.

        Amounts and the audit chain stay. Collections without such a record have no count.
        Raises InvalidPseudonym.
        """
        person = Person(subject_id, pseudonym)
        if not pseudonym or pseudonym == subject_id:
            raise InvalidPseudonym
        counts = []
        for collection in self.records.collections:
            if collection.personal:
                count = await self._erase(collection, tenant_id, person, dry_run=dry_run)
                counts.append(Count(collection.name, count))
        counts += await self._erase_kernel(tenant_id, person, dry_run=dry_run)
        found = [count for count in counts if count.records]
        await self._note(
            tenant_id,
            "records.count" if dry_run else "records.erase",
            f"persons/{pseudonym}",
            {count.collection: count.records for count in found},
        )
        if not dry_run and self.records.forget is not None:
            await self.records.forget(tenant_id)
        return found

    async def _erase(
        self, collection: Collection, tenant_id: str, person: Person, *, dry_run: bool
    ) -> int:
        if dry_run:
            async with self._system() as tx:
                if collection.special is not None:
                    return await collection.special.count(tx, tenant_id, person.subject_id)
                shape = await self._shape(tx, collection.table)
                question = Question()
                where = self._where(question, collection, shape, tenant_id, person)
                query = f"SELECT count(*) FROM {self._schema}.{collection.table} r WHERE {where}"  # noqa: S608 - as above
                return int(await tx.driver.fetchval(query, *question.values))
        total = 0
        while True:
            async with self._system() as tx:
                if collection.special is not None:
                    return await collection.special.erase(
                        tx, tenant_id, person.subject_id, person.pseudonym
                    )
                changed = await self._replace(tx, collection, tenant_id, person)
                if changed and collection.after_erasure:
                    await tx.driver.execute(collection.after_erasure, tenant_id)
            total += changed
            if not changed:
                return total

    async def _replace(
        self, tx: Transaction, collection: Collection, tenant_id: str, person: Person
    ) -> int:
        shape = await self._shape(tx, collection.table)
        table = f"{self._schema}.{collection.table}"
        question = Question()
        where = self._where(question, collection, shape, tenant_id, person)
        subjects = shape.subjects(collection)
        sets = [
            f"{name} = {person.replaced(question, f'r.{name}', form, kind)}"
            for name, (form, kind) in subjects.items()
        ]
        if collection.unique:
            await self._replace_older(tx, collection, tenant_id, person)
        if collection.blanked:
            key = f"r.{collection.key} = {question.bind(person.subject_id)}"
            sets += [
                f"{name} = CASE WHEN {key} THEN '' ELSE r.{name} END" for name in collection.blanked
            ]
        place = "(r.tableoid, r.ctid)" if shape.is_partitioned else "r.ctid"
        picked = "r.tableoid, r.ctid" if shape.is_partitioned else "r.ctid"
        chosen = f"SELECT {picked} FROM {table} r WHERE {where} LIMIT {BATCH} FOR UPDATE"  # noqa: S608 - as above
        status = await tx.driver.execute(
            f"UPDATE {table} r SET {', '.join(sets)} WHERE {place} IN ({chosen})",  # noqa: S608 - as above
            *question.values,
        )
        return int(status.removeprefix("UPDATE "))

    async def _replace_older(
        self, tx: Transaction, collection: Collection, tenant_id: str, person: Person
    ) -> None:
        """Removes the record under the pseudonym, where the person came back after an erasure."""
        table = f"{self._schema}.{collection.table}"
        await tx.driver.execute(
            f"DELETE FROM {table} WHERE tenant_id = $1 AND {collection.key} = $3 AND EXISTS ("  # noqa: S608 - as above
            f"SELECT FROM {table} WHERE tenant_id = $1 AND {collection.key} = $2)",
            tenant_id,
            person.subject_id,
            person.pseudonym,
        )

    def _where(
        self,
        question: Question,
        collection: Collection,
        shape: TableShape,
        tenant_id: str,
        person: Person,
    ) -> str:
        named = any_of(person, question, shape.subjects(collection))
        return f"{collection.tenant} = {question.bind(tenant_id)} AND ({named})"

    async def _erase_kernel(
        self, tenant_id: str, person: Person, *, dry_run: bool
    ) -> Sequence[Count]:
        async with self._system() as tx:
            answers = await self._answers.replace(tx, tenant_id, person, dry_run=dry_run)
            names = await audit_subjects.erase(
                tx, tenant_id, person.subject_id, person.pseudonym, dry_run=dry_run
            )
        return [
            Count(f"{self._schema}.stored_answer", answers),
            Count(f"{self._schema}.audit_subject", names),
        ]

    async def apply_retention(
        self,
        tenant_id: str,
        collection_name: str,
        before: datetime,
        held_filters: Sequence[str],
        *,
        filter_: str = "",
        dry_run: bool,
    ) -> Count:
        """Removes, or counts, what ended before an instant and nothing needs or holds.

        filter_: of the records that may go, empty for all; it is no hold, and is not kept.
        Raises UnknownCollection, CollectionKept, RetentionTooShort, InvalidFilter.
        """
        collection = self.records.named(collection_name)
        if not collection.time:
            raise CollectionKept(collection=collection_name)
        latest = self._clock.now() - timedelta(days=collection.days_min)
        if before > latest:
            raise RetentionTooShort(
                collection=collection_name, days_min=collection.days_min, latest=latest.isoformat()
            )
        await self._keep_holds(tenant_id, collection, held_filters)
        count = await self._trim(
            tenant_id, collection, before, held_filters, filter_=filter_, dry_run=dry_run
        )
        await self._note(
            tenant_id,
            "records.count" if dry_run else "records.remove",
            f"collections/{collection_name}",
            {
                "before": before.isoformat(),
                "removed": count.records,
                "held": count.held,
                "holds": len(held_filters),
            },
        )
        return count

    async def tenants_past(
        self, collection: Collection, before: datetime
    ) -> Sequence[tuple[str, Sequence[str]]]:
        """Returns the tenants with records that ended before, and the holds last named to us."""
        query = (
            f"SELECT t.tenant_id, COALESCE(h.held_filters, '{{}}') AS held FROM ("  # noqa: S608 - as above
            f"SELECT DISTINCT r.{collection.tenant} AS tenant_id"
            f" FROM {self._schema}.{collection.table} r WHERE r.{collection.time} < $1) t"
            " LEFT JOIN record_hold h ON h.tenant_id = t.tenant_id AND h.collection = $2"
            " ORDER BY 1"
        )
        async with self._system() as tx:
            rows = await tx.driver.fetch(query, before, collection.name)
        return [(row["tenant_id"], row["held"]) for row in rows]

    async def remove_past(
        self, tenant_id: str, collection: Collection, before: datetime, held: Sequence[str]
    ) -> Count:
        """Removes what ended before an instant, as `apply_retention` without a caller."""
        return await self._trim(tenant_id, collection, before, held, dry_run=False)

    async def _keep_holds(
        self, tenant_id: str, collection: Collection, held_filters: Sequence[str]
    ) -> None:
        """Keeps the holds in force, for the nightly removal, which nobody tells them."""
        async with self._system() as tx:
            shape = await self._shape(tx, collection.table)
            fields = filter_fields(collection, shape)
            for each in held_filters:
                compile_filter(each, fields)
            await tx.driver.execute(
                "INSERT INTO record_hold (tenant_id, collection, held_filters) VALUES ($1, $2, $3)"
                " ON CONFLICT (tenant_id, collection) DO UPDATE"
                " SET held_filters = EXCLUDED.held_filters, updated_at = now()",
                tenant_id,
                collection.name,
                list(held_filters),
            )

    async def _trim(
        self,
        tenant_id: str,
        collection: Collection,
        before: datetime,
        held_filters: Sequence[str],
        *,
        filter_: str = "",
        dry_run: bool,
    ) -> Count:
        async with self._system() as tx:
            shape = await self._shape(tx, collection.table)
            fields = filter_fields(collection, shape)
            held = or_(false(), *(compile_filter(each, fields) for each in held_filters))
            past = [*_past(collection), compile_filter(filter_, fields)]
            values = {"tenant": tenant_id, "before": before}
            counted = select(
                func.count().filter(held.is_not(true())), func.count().filter(held)
            ).select_from(self._rows(collection))
            row = (await tx.execute(counted.where(*past), values)).one()
        going, kept = int(row[0]), int(row[1])
        if dry_run:
            return Count(collection.name, going, kept)
        removed = 0
        while True:
            async with self._system() as tx:
                batch = await self._remove(tx, collection, past, held, values)
            removed += batch
            if batch < BATCH:
                return Count(collection.name, removed, kept)

    async def _remove(
        self,
        tx: Transaction,
        collection: Collection,
        past: Sequence[Any],
        held: Condition,
        values: Mapping[str, Any],
    ) -> int:
        key = f"r.{collection.key}" if collection.key else "NULL"
        chosen: Any = (
            select(literal_column("r.ctid::text"), literal_column(key))
            .select_from(self._rows(collection))
            .where(*past, not_(func.coalesce(held, false())))
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        rows = (await tx.execute(chosen, values)).all()
        if not rows:
            return 0
        for child in collection.children:
            await tx.driver.execute(
                f"DELETE FROM {self._schema}.{child} WHERE tenant_id = $1"  # noqa: S608 - as above
                f" AND {collection.key} = ANY($2)",
                values["tenant"],
                [row[1] for row in rows],
            )
        await tx.driver.execute(
            f"DELETE FROM {self._schema}.{collection.table} WHERE ctid = ANY($1::text[]::tid[])",  # noqa: S608 - as above
            [row[0] for row in rows],
        )
        return len(rows)

    def _rows(self, collection: Collection) -> Any:
        return sql_table(collection.table, schema=self._schema).alias("r")

    async def _note(
        self, tenant_id: str, action: str, resource: str, after: Mapping[str, Any]
    ) -> None:
        async with self._system() as tx:
            await audit.append(
                tx, action=action, resource=resource, after=after, tenant_id=tenant_id
            )

    async def _shape(self, tx: Transaction, table: str) -> TableShape:
        known = self._shapes.get(table)
        if known is None:
            known = self._shapes[table] = await shape_of(tx, self._schema, table)
        return known

    def _system(self) -> Any:
        return self._database.system_transaction(statement_timeout=STATEMENT)


def _past(collection: Collection) -> list[Any]:
    past = [text(f"r.{collection.tenant} = :tenant"), text(f"r.{collection.time} < :before")]
    return [*past, text(f"NOT ({collection.needed})")] if collection.needed else past
