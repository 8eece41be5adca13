"""FOCUS files: imports them as users do, and reads them as columns of text."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from babel.numbers import list_currencies
from finops.usage.v1 import usage_model_pb2, usage_service_pb2
from google.api.httpbody_pb2 import HttpBody

from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.jobs import Job
from services.kernel.pagination import PageTokens
from services.reporting.domain.focus_rules.judging import Judgement, Outcome, Verdict
from services.reporting.domain.focus_rules.model import RuleModel
from services.usage.service.importing import Imports
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.service.watching import CostFeed
from tests.reporting.conftest import Caller

NO_VALUE = frozenset(("", "NULL", "null", "Null"))


def content_of(path: Path) -> bytes:
    """Returns the bytes of a file, unzipped."""
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def read_rows(text: bytes) -> list[dict[str, str]]:
    """Returns the rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))


async def import_file(caller: Caller, database: Database, content: bytes) -> int:
    """Imports a file and returns how many rows were stored. database: the usage service's."""
    request = usage_service_pb2.ImportUsageRequest(
        content=HttpBody(content_type="text/csv", data=content)
    )
    started = getattr(await caller.usage.ImportUsage(request), "import")
    recorder = Recorder(database, TenantContexts(database), CostFeed(database))
    tokens = PageTokens(b"a secret that only these tests use")
    imports = Imports(database, recorder, tokens=tokens, clock=SystemClock())
    await imports.run(Job(1, "import", started.import_id.encode(), 1, caller.tenant_id))
    answer = await caller.usage.GetImport(
        usage_service_pb2.GetImportRequest(import_id=started.import_id)
    )
    done = getattr(answer, "import")
    assert done.state == usage_model_pb2.Import.STATE_SUCCEEDED, done
    return int(done.accepted)


def judged(model: RuleModel, rows: list[dict[str, Any]]) -> dict[str, Verdict]:
    """Returns what becomes of each rule, by its id. rows: in halves, as a large file comes."""
    header = list(rows[0])
    judgement = Judgement(model, header, frozenset(list_currencies()))
    half = len(rows) // 2
    for part in (rows[:half], rows[half:]):
        judgement.add(
            {
                name: [None if row[name] in NO_VALUE else row[name] for row in part]
                for name in header
            }
        )
    return {verdict.rule_id: verdict for verdict in judgement.verdicts()}


def breaches(verdicts: dict[str, Verdict], *, only_required: bool = False) -> set[str]:
    """Returns the rules that are breached by rows of their own, not by those below them."""
    return {
        name
        for name, verdict in verdicts.items()
        if verdict.outcome is Outcome.FAILED and verdict.rows
        if verdict.is_required or not only_required
    }


def value_of(text: str | None) -> Any:
    """Returns what a cell means, however it is written: nothing, number, instant, object, text."""
    text = (text or "").strip()
    if text in NO_VALUE:
        return None
    try:
        return Decimal(text).normalize()
    except InvalidOperation:
        pass  # no number, so one of the others
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        pass  # no instant either
    else:
        return at.replace(tzinfo=at.tzinfo or UTC)
    if text.startswith("{"):
        return json.dumps(json.loads(text), sort_keys=True)
    return text
