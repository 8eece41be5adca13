"""Records of the kernel's own test service: forms, keys, the nightly removal."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from finops.records.v1 import records_service_pb2 as messages
from pydantic import SecretStr

from services.kernel import audit
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.jobs import Job
from services.kernel.pagination import PageTokens
from services.kernel.records import Collection, Form, InvalidPseudonym, Records, Sealed
from services.kernel.records_defaults import serve_records
from services.kernel.records_kernel import KERNEL_EXEMPT, kernel_collections
from services.kernel.records_person import Person, Question
from tests.support.database import KERNEL_SERVICE, ServiceDatabase, connection
from tests.support.records import erased, records_stub, serving_records, undeclared

NOW = datetime(2026, 3, 17, tzinfo=UTC)
NOTES = Records(
    service=KERNEL_SERVICE,
    collections=(
        Collection(
            name="test.note",
            table="note_feed",
            description="Facts.",
            subjects={"payload": Form.PAYLOAD},
            time="appended_at",
            days=30,
        ),
        *kernel_collections(KERNEL_SERVICE),
    ),
    exempt=KERNEL_EXEMPT,
    sealed=(Sealed("kept_secret", "content", ("name",), lambda row: f"secret.{row['name']}"),),
)


@pytest.mark.parametrize(
    ("form", "kind", "text", "replaced"),
    [
        (Form.ID, "text", "ann", "P"),
        (Form.ID, "text", "annie", "annie"),
        (
            Form.WORDS,
            "text",
            "ann asked, joann and ann.b did not: ann.",
            "P asked, joann and ann.b did not: P.",
        ),
        (Form.WORDS, "text", 'user_id = "ann"', 'user_id = "P"'),
        (
            Form.FIELDS,
            "jsonb",
            '{"unit": "ann", "amount": 1.10, "author": "ann"}',
            '{"unit": "ann", "amount": 1.10, "author": "P"}',
        ),
        (
            Form.FIELDS,
            "text",
            '{"owners":["eve","ann","joann"],"scope":{"user_id":"ann"}}',
            '{"owners":["eve","P","joann"],"scope":{"user_id":"P"}}',
        ),
        (Form.LABELS, "text", '[["ann","ann"],["x","annie"]]', '[["P","P"],["x","annie"]]'),
        (
            Form.LABELS,
            "text",
            r'{"Tags": "{\"user\": \"ann\", \"by\":\"annie\"}", "x": "ann\\"}',
            r'{"Tags": "{\"user\": \"P\", \"by\":\"annie\"}", "x": "ann\\"}',
        ),
        (Form.LABELS, "jsonb", '{"ann": "x", "by": "ann"}', '{"by": "P", "ann": "x"}'),
    ],
)
async def test_a_person_is_replaced_where_the_form_says_and_nowhere_else(
    database: Database, form: Form, kind: str, text: str, replaced: str
) -> None:
    person, question = Person("ann", "P"), Question()
    value = question.bind(text)
    expression = person.replaced(question, f"({value}::{kind})", form, kind)
    condition = person.condition(question, f"({value}::{kind})", form, kind)

    async with database.system_transaction() as tx:
        row = await tx.driver.fetchrow(
            f"SELECT ({expression})::text AS text, {condition} AS found,"
            f" {value}::{kind}::text AS stored",
            *question.values,
        )

    assert row is not None
    expected = replaced if row["found"] else row["stored"]
    assert row["text"] == expected
    assert row["found"] is (row["text"] != row["stored"])


@pytest.mark.parametrize("subject_id", ["0", "true", "null", "said", "1.5"])
async def test_an_id_that_looks_like_json_leaves_the_document_whole(
    database: Database, subject_id: str
) -> None:
    words = f"to {subject_id}, who left"
    document = {"said": words, "share": 1.5, "is_ours": True, "none": None, "zeros": [0, 0]}
    person, question = Person(subject_id, "P"), Question()
    value = question.bind(json.dumps(document))
    expression = person.replaced(question, f"({value}::jsonb)", Form.WORDS, "jsonb")

    async with database.system_transaction() as tx:
        text = await tx.driver.fetchval(f"SELECT ({expression})::text", *question.values)

    assert json.loads(text) == document | {"said": "to P, who left"}


async def _told(database: Database, subject_id: str, document: object, *, is_ascii: bool) -> object:
    """Returns what is left of a document, checked to be found where it named the person."""
    person, question = Person(subject_id, "P"), Question()
    value = question.bind(json.dumps(document, ensure_ascii=is_ascii))
    payload = f"convert_to({value}, 'UTF8')"
    expression = person.replaced(question, payload, Form.TOLD, "bytea")
    found = person.condition(question, payload, Form.TOLD, "bytea")
    column = f"({value}::jsonb)"
    rewritten = person.replaced(question, column, Form.WORDS, "jsonb")
    named = person.condition(question, column, Form.WORDS, "jsonb")

    async with database.system_transaction() as tx:
        row = await tx.driver.fetchrow(
            f"SELECT convert_from({expression}, 'UTF8') AS told, {found} AS found,"
            f" ({rewritten})::text AS words, {named} AS named",
            *question.values,
        )

    assert row is not None
    told = json.loads(row["told"])
    assert json.loads(row["words"]) == told
    assert row["found"] is row["named"] is (told != document)
    return told


@pytest.mark.parametrize("is_ascii", [True, False])
@pytest.mark.parametrize(
    ("subject_id", "note", "left"),
    [
        ("jörg.müller", "ask jörg.müller.", "ask P."),
        ("jörg.müller", "jörg.müller-x, jörg.müllers, ajörg.müller", ""),
        ("मिताली", "मिताली asks", "P asks"),
        ("😀", "by 😀", "by P"),
        ('quo"te', 'by quo"te, "quo"te"', 'by P, "P"'),
        ("back\\slash", "by back\\slash", "by P"),
        ("\\", "a \\ b", "a P b"),
        ("omar.farouk", "asked\nomar.farouk\n", "asked\nP\n"),
        (
            "omar",
            '\tomar\\omar"omar\u0001omar\u2014omar\u00a0omar😀omar',
            '\tP\\P"P\u0001P\u2014P\u00a0P😀P',
        ),
        ("omar", "omar\u2014 omar😀 omar\u00a0omar.\n", "P\u2014 P😀 P\u00a0P.\n"),
        ("omar", "omarü omar.ü üomar ñomar omar-x omar.x omarж", ""),
        ("nomar", "asked\nomar \\nomar", "asked\nomar \\P"),
        ("u2014omar", "\u2014omar", ""),
        ("00fcx", "üx", ""),
    ],
)
async def test_a_person_of_any_letters_is_found_in_json_wherever_a_word_begins(
    database: Database, subject_id: str, note: str, left: str, *, is_ascii: bool
) -> None:
    document = {"note": note, "causes": [["user", subject_id]], "score": 1}

    told = await _told(database, subject_id, document, is_ascii=is_ascii)

    assert told == {"note": left or note, "causes": [["user", "P"]], "score": 1}


@pytest.mark.parametrize("is_ascii", [True, False])
async def test_who_is_named_by_a_longer_id_alone_stays(
    database: Database, *, is_ascii: bool
) -> None:
    document = {"note": "omarü\nomar.farouk jomar", "causes": [["user", "omarß"]]}

    assert await _told(database, "omar", document, is_ascii=is_ascii) == document


@pytest.mark.parametrize(
    ("subject_id", "text"),
    [
        ('quo"te', r'user_id = "quo\"te"'),
        ("jörg", 'user_id = "jörg"'),
        ("jörg", r'{"user": "j\u00f6rg"}'),
        ("मिताली", 'user_id = "मिताली"'),
    ],
)
async def test_a_person_is_found_in_filters_and_excerpts_as_those_quote_it(
    database: Database, subject_id: str, text: str
) -> None:
    person, question = Person(subject_id, "P"), Question()
    value = question.bind(text)
    expression = person.replaced(question, value, Form.WORDS, "text")

    async with database.system_transaction() as tx:
        left = await tx.driver.fetchval(f"SELECT {expression}", *question.values)

    assert left == person.in_words(text)
    assert left in ('user_id = "P"', '{"user": "P"}')


@pytest.mark.parametrize("pseudonym", ['P"', "P\\", "\\1", "Jörg", "-"])
def test_a_pseudonym_that_json_would_have_to_quote_is_refused(pseudonym: str) -> None:
    with pytest.raises(InvalidPseudonym):
        Person("ann", pseudonym)


@pytest.mark.parametrize("subject_id", ["a.b+c", "x|y(z)*", "Jörg ß", 'quo"te\\', "*", "$1"])
async def test_an_id_of_any_characters_is_a_text_and_no_pattern(
    database: Database, tenant: str, subject_id: str
) -> None:
    async with database.system_transaction() as tx:
        for name in (subject_id, "axb+c", "x"):
            await tx.driver.execute(
                f"INSERT INTO {KERNEL_SERVICE}.note_feed (tenant_id, kind, payload)"
                " VALUES ($1, 'n',"
                " convert_to(jsonb_build_object('actor', $2::text)::text, 'UTF8'))",
                tenant,
                name,
            )

    async with serving_records(database, NOTES) as server:
        stub = records_stub(server, tenant)
        assert await erased(stub, subject_id, "erased-1") == {"test.note": 1}

    async with database.read(tenant) as tx:
        rows = await tx.driver.fetch(
            f"SELECT payload FROM {KERNEL_SERVICE}.note_feed ORDER BY sequence"
        )
    assert [row["payload"].decode() for row in rows] == [
        '{"actor": "erased-1"}',
        '{"actor": "axb+c"}',
        '{"actor": "x"}',
    ]


async def test_a_person_who_came_back_is_erased_again_and_the_chain_verifies(
    database: Database, tenant: str
) -> None:
    async with serving_records(database, NOTES) as server:
        stub = records_stub(server, tenant)
        for _ in range(2):
            async with database.transaction(tenant) as tx:
                await audit.append(
                    tx,
                    action="notes.create",
                    resource="users/ann",
                    actor="ann",
                    after={"owner": "ann", "cost": "1.10"},
                )
            await erased(stub, "ann", "erased-1")

    async with database.read(tenant) as tx:
        stored = [entry async for entry in audit.stored_entries(tx, tenant)]
        read = [entry async for entry in audit.read_entries(tx, tenant)]
        found = await audit.verify(tx, tenant)
    made = [entry for entry in read if entry.action == "notes.create"]
    assert [entry.actor for entry in made] == ["erased-1", "erased-1.2"]
    assert [entry.resource for entry in made] == ["users/erased-1", "users/erased-1.2"]
    assert made[0].after == '{"cost":"1.10","owner":"erased-1"}'
    assert not any("ann" in str(entry.texts) for entry in stored)
    assert all(entry.hash == entry.computed_hash() for entry in stored)
    assert found == audit.AuditVerification(len(stored))


async def test_the_nightly_removal_keeps_what_the_law_holds(
    database: Database, tenant: str
) -> None:
    clock = ManualClock(NOW)
    async with database.system_transaction() as tx:
        for kind, days in (("held", 40), ("old", 40), ("new", 10)):
            await tx.driver.execute(
                f"INSERT INTO {KERNEL_SERVICE}.note_feed (tenant_id, kind, payload, appended_at)"
                " VALUES ($1, $2, '{}', $3)",
                tenant,
                kind,
                NOW - timedelta(days=days),
            )
    served = serve_records(database, NOTES, Envelope([]), tokens=PageTokens(b"x" * 32), clock=clock)
    async with serving_records(database, NOTES) as server:
        request = messages.ApplyRetentionRequest(
            collection="test.note", held_filters=['kind = "held"'], dry_run=True
        )
        request.before_time.FromDatetime(NOW)
        counted = (await records_stub(server, tenant).ApplyRetention(request)).count
        request.filter = 'kind = "held" OR kind = "new"'
        some = (await records_stub(server, tenant).ApplyRetention(request)).count

    await served.retention.run(Job(1, "retention", b"", 1, None))

    assert (counted.record_count, counted.held_count) == (2, 1)
    assert (some.record_count, some.held_count) == (1, 1)
    async with database.read(tenant) as tx:
        rows = await tx.driver.fetch(f"SELECT kind FROM {KERNEL_SERVICE}.note_feed ORDER BY 1")
    assert [row["kind"] for row in rows] == ["held", "new"]


@pytest.fixture
async def secret_table(kernel_service: ServiceDatabase) -> AsyncIterator[None]:
    """A table of sealed secrets."""
    async with connection(kernel_service.owner_url) as owner:
        await owner.execute(f"""
            CREATE TABLE {KERNEL_SERVICE}.kept_secret (
                tenant_id text, name text, content bytea, PRIMARY KEY (tenant_id, name));
        """)
        yield
        await owner.execute(f"DROP TABLE {KERNEL_SERVICE}.kept_secret")


@pytest.mark.usefixtures("secret_table")
async def test_keys_are_rotated_under_those_who_seal_and_nothing_is_lost(
    database: Database, tenant: str
) -> None:
    envelope = Envelope([SecretStr(secrets.token_hex(32))])

    async def keep(name: str) -> None:
        async with database.transaction(tenant) as tx:
            sealed = await envelope.seal(tx, tenant, name.encode(), f"secret.{name}")
            await tx.driver.execute(
                f"INSERT INTO {KERNEL_SERVICE}.kept_secret VALUES ($1, $2, $3)",
                tenant,
                name,
                sealed,
            )

    done = asyncio.Event()

    async def go_on() -> int:
        count = 0
        while not done.is_set():
            await keep(f"late-{count}")
            count += 1
        return count

    for number in range(5):
        await keep(f"early-{number}")
    async with serving_records(database, NOTES, envelope=envelope) as server:
        stub = records_stub(server, tenant)
        request = messages.RotateEncryptionKeysRequest(dry_run=True)
        counted = await stub.RotateEncryptionKeys(request)
        running = asyncio.create_task(go_on())
        rotated = await stub.RotateEncryptionKeys(messages.RotateEncryptionKeysRequest())
        done.set()
        late = await running

    assert counted.secret_count == 5
    assert rotated.secret_count >= 5
    assert rotated.key_id != counted.key_id
    async with database.read(tenant) as tx:
        rows = await tx.driver.fetch(f"SELECT name, content FROM {KERNEL_SERVICE}.kept_secret")
        keys = await tx.driver.fetch("SELECT data_key_id FROM data_key")
        opened = [
            await envelope.open(tx, tenant, row["content"], f"secret.{row['name']}") for row in rows
        ]
    assert len(rows) == 5 + late
    assert [each.decode() for each in opened] == [row["name"] for row in rows]
    assert [row["data_key_id"].hex() for row in keys] == [rotated.key_id]


async def test_a_column_that_nobody_declared_is_found(kernel_service: ServiceDatabase) -> None:
    silent = Records(service=KERNEL_SERVICE, collections=(), exempt=KERNEL_EXEMPT)

    async with connection(kernel_service.owner_url) as driver:
        found = await undeclared(driver, silent)

    assert "note_feed.payload" in found
    assert "pgqueuer.payload" in found
