"""What the reporting service keeps, as kernel.records_keeping lists, erases and removes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from services.kernel.records import Collection, Form, Records, Sealed
from services.kernel.records_kernel import KERNEL_EXEMPT, kernel_collections
from services.kernel.records_person import Person, Question
from services.kernel.transaction import Transaction
from services.reporting.store.reports import is_section

# Of these nobody can be found in the file: sums over no user, asked by no filter.
_HARMLESS: Final = "dataset = 'costs' AND filter = '' AND NOT 'user_id' = ANY(group_by)"

# $2: the spellings of the person's id in JSON.
_NAMED: Final = (
    "EXISTS (SELECT FROM unnest($2::text[]) AS spelled"
    " WHERE position(spelled IN content::text) > 0)"
)


class MadeFiles:
    """Files of exports and reports, which are compressed, so that nobody is sought in them."""

    async def count(self, tx: Transaction, tenant_id: str, subject_id: str) -> int:
        """Returns the reports that name a person in what their files were made of."""
        found: int = await tx.driver.fetchval(
            "SELECT count(*) FROM reporting.report_file WHERE tenant_id = $1 AND report_id IN"
            " (SELECT report_id FROM reporting.report_section WHERE tenant_id = $1"
            f" AND {_NAMED})",
            tenant_id,
            Person(subject_id).spellings(),
        )
        return found

    async def erase(self, tx: Transaction, tenant_id: str, subject_id: str, _: str) -> int:
        """Deletes those, and exports that hold more than sums: they can be made again."""
        count = await self.count(tx, tenant_id, subject_id)
        await tx.driver.execute(
            "DELETE FROM reporting.file WHERE tenant_id = $1 AND (file_id IN"
            f" (SELECT export_id FROM reporting.export WHERE tenant_id = $1 AND NOT ({_HARMLESS}))"
            " OR file_id IN (SELECT f.file_id FROM reporting.report_file f"
            " JOIN reporting.report_section s USING (tenant_id, report_id)"
            f" WHERE f.tenant_id = $1 AND {_NAMED}))",
            tenant_id,
            Person(subject_id).spellings(),
        )
        await tx.driver.execute(
            "DELETE FROM reporting.report_file f WHERE tenant_id = $1 AND NOT EXISTS"
            " (SELECT FROM reporting.file c WHERE c.tenant_id = $1 AND c.file_id = f.file_id)",
            tenant_id,
        )
        return count

    async def export(self, tx: Transaction, tenant_id: str, subject_id: str) -> AsyncIterator[str]:
        """Yields which files those are."""
        rows = await tx.driver.fetch(
            "SELECT DISTINCT (to_jsonb(f))::text FROM reporting.report_file f"
            " JOIN reporting.report_section s USING (tenant_id, report_id)"
            f" WHERE f.tenant_id = $1 AND {_NAMED}",
            tenant_id,
            Person(subject_id).spellings(),
        )
        for row in rows:
            yield row[0]


class ReportSections:
    """What reports say: a person is replaced in it as a word.

    Where the id is also a word of the document's own, such as `money`, that leaves nothing that
    can be read: then the section goes.
    """

    async def count(self, tx: Transaction, tenant_id: str, subject_id: str) -> int:
        """Returns the sections that name a person."""
        question = Question()
        where = self._where(question, tenant_id, Person(subject_id))
        found: int = await tx.driver.fetchval(
            f"SELECT count(*) FROM reporting.report_section r WHERE {where}", *question.values
        )
        return found

    async def erase(self, tx: Transaction, tenant_id: str, subject_id: str, pseudonym: str) -> int:
        """Replaces the person, deletes what is unreadable then, and returns how many both are."""
        person, question = Person(subject_id, pseudonym), Question()
        where = self._where(question, tenant_id, person)
        content = person.replaced(question, "r.content", Form.WORDS, "jsonb")
        rows = await tx.driver.fetch(
            f"UPDATE reporting.report_section r SET content = {content} WHERE {where}"
            " RETURNING r.report_id, r.place, r.content::text AS content",
            *question.values,
        )
        await tx.driver.executemany(
            "DELETE FROM reporting.report_section"
            " WHERE tenant_id = $1 AND report_id = $2 AND place = $3",
            [
                (tenant_id, row["report_id"], row["place"])
                for row in rows
                if not is_section(row["content"])
            ],
        )
        return len(rows)

    async def export(self, tx: Transaction, tenant_id: str, subject_id: str) -> AsyncIterator[str]:
        """Yields them."""
        question = Question()
        where = self._where(question, tenant_id, Person(subject_id))
        query = f"SELECT (to_jsonb(r))::text FROM reporting.report_section r WHERE {where}"
        async for row in tx.driver.cursor(query, *question.values):
            yield row[0]

    def _where(self, question: Question, tenant_id: str, person: Person) -> str:
        named = person.condition(question, "r.content", Form.WORDS, "jsonb")
        return f"r.tenant_id = {question.bind(tenant_id)} AND {named}"


_COLLECTIONS: Final = (
    # Before the reports, whose content tells which files name the person.
    Collection(
        name="reporting.file",
        table="",
        description="Files of reports and exports; they expire by themselves.",
        special=MadeFiles(),
    ),
    Collection(
        name="reporting.report",
        table="report",
        description="Reports, who asked for them, and what of.",
        subjects={
            "author": Form.ID,
            "filter": Form.WORDS,
            "title": Form.WORDS,
            "wished_title": Form.WORDS,
            "message": Form.WORDS,
            "error": Form.WORDS,
        },
    ),
    Collection(
        name="reporting.report_section",
        table="report_section",
        description="What reports say; it goes with the report.",
        subjects={"content": Form.WORDS},
        special=ReportSections(),
    ),
    Collection(
        name="reporting.schedule",
        table="report_schedule",
        description="Reports made regularly, and to whom they are mailed.",
        subjects={"recipients": Form.LIST, "filter": Form.WORDS},
    ),
    Collection(
        name="reporting.export",
        table="export",
        description="Exports and what they ask.",
        subjects={"filter": Form.WORDS, "error": Form.WORDS},
    ),
    Collection(
        name="reporting.forecast",
        table="made_forecast",
        description="Forecasts that are compared with what came.",
        subjects={"filter": Form.WORDS},
    ),
    Collection(
        name="reporting.anomaly",
        table="anomaly",
        description="Anomalies, what caused them and who judged them. Open ones stay.",
        subjects={
            "feedback_actor": Form.ID,
            "feedback_note": Form.WORDS,
            "causes": Form.LABELS,
        },
        time="closed_at",
        needed="r.closed_at IS NULL",
        days=800,
    ),
    Collection(
        name="reporting.anomaly_change",
        table="anomaly_change",
        description="The feed of anomalies; consumed facts go by the feed's own time.",
        # Causes are lists without names, and notes are texts for people.
        subjects={"payload": Form.TOLD},
    ),
    Collection(
        name="reporting.maintenance_window",
        table="maintenance_window",
        description="Times in which anomalies are expected, and who said so.",
        subjects={"author": Form.ID, "filter": Form.WORDS},
        time="end_at",
        days=400,
    ),
    Collection(
        name="reporting.subject_case",
        table="subject_case",
        description="Requests about persons, by pseudonym, and who made them.",
        subjects={"author": Form.ID, "reason": Form.WORDS, "message": Form.WORDS},
    ),
    Collection(
        name="reporting.retention_run",
        table="retention_run",
        description="Removals, and who began them.",
        subjects={"author": Form.ID, "message": Form.WORDS, "error": Form.WORDS},
        time="ended_at",
        needed="r.ended_at IS NULL",
        key="run_id",
        children=("retention_step",),
        days=800,
    ),
    Collection(
        name="reporting.retention_policy",
        table="retention_policy",
        description="How long records stay.",
        subjects={"filter": Form.WORDS},
    ),
    Collection(
        name="reporting.legal_hold",
        table="legal_hold",
        description="Records that the law keeps; whom they name is forgotten when they end.",
        subjects={"author": Form.ID},
    ),
)

RECORDS: Final = Records(
    service="reporting",
    collections=(*_COLLECTIONS, *kernel_collections("reporting")),
    exempt=KERNEL_EXEMPT
    | {
        "file_chunk.content": "in reporting.file, and in subjects of compliance",
        "legal_hold.subject_id": "the hold forbids the erasure; forgotten when it ends",
        "legal_hold.filter": "the hold forbids the erasure; forgotten when it ends",
        "legal_hold.release_reason": "written by who releases, about the hold",
        "retention_step.filter": "its policy's, from when the run began; goes with the run",
        "subject_case.error": "names legal holds and services",
        "subject_case.sealed_subject": "sealed by a key that ends with the case",
        "subject_step.changed": "counts by collection",
        "subject_step.found": "counts by collection",
    },
    sealed=(Sealed("subject_key", "sealed", ("tenant_id",), lambda _: "subject.key", "subjects"),),
)
