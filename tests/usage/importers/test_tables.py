"""Files as they come: compressed, damaged, oddly quoted, in Parquet, of unknown kind."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.kernel.errors import InvalidArgument
from services.usage.service.importers import (
    ImportKind,
    ImportOptions,
    Rejected,
    detect,
    open_import,
)
from services.usage.service.importers.rows import (
    InvalidImportOption,
    UnknownImportKind,
    UnreadableImportFile,
)
from services.usage.service.importers.tables import LINE_LENGTH_MAX
from tests.usage.importers.reading import FOCUS_ROW, events, focus_csv, read, rejects

TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
REQUEST = "2023-11-16 18:17:03,1,2\n"


def trace(folder: Path, content: bytes) -> Path:
    path = folder / "trace"
    path.write_bytes(content)
    return path


def test_compression_is_found_by_content_not_by_name(tmp_path: Path) -> None:
    text = (TRACE + REQUEST).encode()
    plain = trace(tmp_path, text)
    zipped = tmp_path / "trace.csv"
    zipped.write_bytes(gzip.compress(text) + gzip.compress(REQUEST.encode()))

    assert events(zipped)[0] == events(plain)[0]
    assert len(events(zipped)) == 2, "a gzip file may have several members"


def test_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = trace(tmp_path, b"\xef\xbb\xbf" + (TRACE + REQUEST).replace("\n", "\r\n").encode())

    assert [row.row_number for row in read(path)] == [2]


def test_row_number_is_the_line_the_row_begins_on(tmp_path: Path) -> None:
    path = focus_csv(
        tmp_path, {"ChargeDescription": "two\nlines"}, {"BilledCost": "x"}, {"BilledCost": "y"}
    )
    path.write_text(path.read_text() + "\n\n", encoding="utf-8")

    assert [row.row_number for row in read(path)] == [2, 4, 5]
    assert [row.row_number for row in rejects(path)] == [4, 5]


def test_rows_of_another_width_are_refused_alone(tmp_path: Path) -> None:
    path = trace(tmp_path, (TRACE + "a,b\n" + REQUEST + "1,2,3,4\n").encode())

    refused = rejects(path)

    assert [row.row_number for row in refused] == [2, 4]
    assert refused[0].reason == "has 2 columns, the header 3"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'"2023-11-16 18:17:03"x,1,2\n', "is not CSV"),
        (b'"' + b"x" * 200_000 + b'",1,2\n', "is not CSV: field larger"),
        (b"2023-11-16 18:17:03,\xff\xfe,2\n", "is not UTF-8 text"),
    ],
)
def test_row_that_is_no_csv_is_refused_alone(tmp_path: Path, row: bytes, reason: str) -> None:
    path = trace(tmp_path, TRACE.encode() + REQUEST.encode() + row + REQUEST.encode())

    first, refused, last = read(path)

    assert isinstance(refused, Rejected)
    assert refused.reason.startswith(reason)
    assert refused.row_number == 3
    assert (first.row_number, last.row_number) == (2, 4)
    assert "\udcff" not in refused.text_excerpt
    assert len(refused.reason) < 100
    assert 0 < len(refused.text_excerpt) <= 200


def test_quote_that_is_never_closed_is_refused(tmp_path: Path) -> None:
    path = trace(tmp_path, (TRACE + REQUEST + '"2023\n' + REQUEST).encode())

    (refused,) = rejects(path)

    assert (refused.row_number, refused.field) == (3, "")


def test_file_that_breaks_off_is_an_error_after_its_rows(tmp_path: Path) -> None:
    text = TRACE + "".join(f"2023-11-16 18:17:03,{index},2\n" for index in range(50_000))
    path = trace(tmp_path, gzip.compress(text.encode())[:-2000])
    rows = open_import(ImportKind.LLM_TRACE, path, ImportOptions())

    first = next(rows)
    with pytest.raises(UnreadableImportFile, match="ends too early") as raised:
        list(rows)

    assert first.row_number == 2
    assert raised.value.reason == "UNREADABLE_IMPORT_FILE"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"a,b,A\n", "twice"),
        (b"a" * (LINE_LENGTH_MAX + 1), "longer than"),
        (b",".join(b"c%d" % index for index in range(2001)), "2000 columns"),
        (b"\x1f\x8b\x08damaged", "damaged"),
        (b"PAR1 but nothing else", "Parquet"),
        (b'"a\n', "not CSV"),
    ],
)
def test_file_that_is_no_table_is_refused_whole(tmp_path: Path, content: bytes, text: str) -> None:
    with pytest.raises(UnreadableImportFile, match=text):
        open_import(ImportKind.FOCUS, trace(tmp_path, content), ImportOptions())


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"[{}]", b"ContractCommitmentId,ContractId\n"])
def test_unknown_kind_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnknownImportKind) as raised:
        detect(trace(tmp_path, content))

    assert raised.value.reason == "UNKNOWN_IMPORT_KIND"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"eventId": "1"}\n', ImportKind.NDJSON),
        (b'\n {"specversion": "1.0"}\n', ImportKind.CLOUDEVENTS),
        (b'{"broken\n', ImportKind.NDJSON),
        (TRACE.encode(), ImportKind.LLM_TRACE),
    ],
)
def test_kind_is_found_by_content(tmp_path: Path, content: bytes, kind: ImportKind) -> None:
    assert detect(trace(tmp_path, content)) is kind


def test_options_are_checked() -> None:
    with pytest.raises(InvalidImportOption, match="time zone") as raised:
        ImportOptions(start_at=datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test
    with pytest.raises(InvalidImportOption):
        ImportOptions(source="a\nb")
    with pytest.raises(InvalidImportOption):
        ImportOptions(source="s" * 129)

    assert raised.value.reason == "INVALID_IMPORT_OPTION"


def parquet(folder: Path, columns: dict[str, pa.Array]) -> Path:
    rows = len(next(iter(columns.values())))
    table = {name: pa.array([value] * rows) for name, value in FOCUS_ROW.items()} | columns
    path = folder / "bill.bin"
    pq.write_table(pa.table(table), path, row_group_size=2)
    return path


def test_parquet_of_text_gives_the_events_of_the_same_csv(tmp_path: Path) -> None:
    costs = ["1", "2", "x", "1"]
    csv_rows = read(focus_csv(tmp_path, *({"BilledCost": cost} for cost in costs)))

    rows = read(parquet(tmp_path, {"BilledCost": pa.array(costs)}))

    assert [row.row_number for row in rows] == [1, 2, 3, 4]
    assert [row[1:] for row in rows] == [row[1:] for row in csv_rows]


def test_parquet_of_typed_columns_is_read_exactly(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    tags = pa.array([[("team", "red"), ("none", None)], None], pa.map_(pa.string(), pa.string()))
    path = parquet(
        tmp_path,
        {
            "BilledCost": pa.array([Decimal("0.123456789012345678"), None], pa.decimal128(38, 18)),
            "EffectiveCost": pa.array([0.1, 1e-11]),
            "ListCost": pa.array([0.1, 2.0], pa.float32()),
            "ContractedCost": pa.array([4.0000000000000003e-07, 1.0]),
            "ChargePeriodStart": pa.array([at, at], pa.timestamp("ns", tz="UTC")),
            "ChargePeriodEnd": pa.array([at, at], pa.timestamp("ms")),
            "BillingPeriodStart": pa.array([at.date(), at.date()]),
            "ProviderName": pa.array(["A", "A"]).dictionary_encode(),
            "Tags": tags,
        },
    )

    (reject,) = rejects(path)
    event = next(row.event for row in read(path) if not isinstance(row, Rejected))

    assert event.cost is not None
    assert event.cost.billed == Decimal("0.123456789012345678")
    assert event.cost.effective == Decimal("0.1")
    assert event.cost.list == Decimal("0.1")
    assert event.cost.contracted == Decimal("0.0000004")
    assert event.start_at == event.end_at == at
    assert event.attributes.tags == (("none", ""), ("team", "red"))
    assert (reject.row_number, reject.field) == (2, "BilledCost")


def test_parquet_tags_may_be_a_struct_or_a_list_of_pairs(tmp_path: Path) -> None:
    struct = pa.array([{"team": "red", "other": None}])
    pairs = pa.array([[{"key": "team", "value": "red"}]])

    for tags in (struct, pairs):
        (event,) = events(parquet(tmp_path, {"Tags": tags}))

        assert event.attributes.tags == (("team", "red"),)


def test_parquet_infinite_cost_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"BilledCost": pa.array([float("inf"), float("nan"), 1.0])})

    assert [(row.row_number, row.field) for row in rejects(path)] == [
        (1, "BilledCost"),
        (2, "BilledCost"),
    ]


def test_parquet_text_of_other_bytes_than_utf_8_is_refused_alone(tmp_path: Path) -> None:
    names = pa.array([b"Machines", b"\xff"]).view(pa.string())

    (reject,) = rejects(parquet(tmp_path, {"ServiceName": names}))

    assert (reject.row_number, reject.reason) == (2, "is not UTF-8 text")


def test_parquet_file_that_is_damaged_is_an_error_and_never_anything_else(tmp_path: Path) -> None:
    good = parquet(tmp_path, {"BilledCost": pa.array(["1"] * 8)}).read_bytes()
    damaged = tmp_path / "damaged"

    for place in range(4, len(good), len(good) // 60):
        damaged.write_bytes(good[:place] + b"\xff\x00\xff" + good[place + 3 :])
        try:
            rows = read(damaged, ImportKind.FOCUS)
        except InvalidArgument:
            continue

        assert len(rows) == 8
