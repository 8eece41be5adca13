"""Pages of entries as Arrow: CSV from the database in, an IPC stream out, no objects between.

Attributes are dictionaries of the page's distinct dimensions, all with the same indices, so that a
text that a thousand entries share crosses the wire once.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from services.usage.domain.event import Outcome
from services.usage.store.reading import ATTRIBUTES, COLUMNS, Position

# Arrow's own pool keeps what was freed, and the process would look as large as its peak for ever.
pa.set_memory_pool(pa.system_memory_pool())
# Names of UsageEvent, where QueryCosts has others.
_NAMES: Final = {"user": "user_id", "sub_account": "sub_account_id"}
_INSTANT: Final = pa.timestamp("us", tz="UTC")
_LABEL: Final = pa.dictionary(pa.int32(), pa.string())
_TYPES: Final[dict[str, Any]] = dict.fromkeys(COLUMNS, pa.string()) | {
    "position_time": _INSTANT,
    "position_sequence": pa.int64(),
    "dimension_id": pa.int64(),
    "source": _LABEL,
    "revision": pa.int32(),
    "is_reversal": pa.bool_(),
    "end_time": _INSTANT,
    "recorded_time": _INSTANT,
    "is_rated": pa.bool_(),
    "outcome": pa.int32(),
    "retries": pa.int32(),
    "latency_ms": pa.int64(),
    "error_code": _LABEL,
    "utilization": pa.float64(),
    "is_unpriced": pa.bool_(),
}
_CONVERT: Final = pv.ConvertOptions(
    column_types=_TYPES,
    null_values=[""],
    true_values=["t"],
    false_values=["f"],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
)
_PARSE: Final = pv.ParseOptions(newlines_in_values=True)
_OUTCOMES: Final = [outcome.name for outcome in sorted(Outcome)]
_SHOWN: Final = [name for name in COLUMNS if not name.startswith("position_")][1:]


class Page(NamedTuple):
    """Entries without their attributes, the dimensions they have, and where the page ends."""

    table: pa.Table
    dimension_ids: list[int]
    last: Position


def read_page(text: bytes) -> Page | None:
    """Reads a page of CSV in the order of `COLUMNS`; None where it has no rows."""
    if not text:
        return None
    options = pv.ReadOptions(
        column_names=list(COLUMNS), use_threads=False, block_size=len(text) + 1
    )
    table = pv.read_csv(
        io.BytesIO(text), read_options=options, parse_options=_PARSE, convert_options=_CONVERT
    )
    last = table.num_rows - 1
    return Page(
        table,
        pc.unique(table["dimension_id"]).to_pylist(),
        Position(table["position_time"][last].as_py(), table["position_sequence"][last].as_py()),
    )


def write_page(page: Page, attributes: Mapping[int, Sequence[str]]) -> bytes:
    """Returns the page with its attributes as an Arrow IPC stream.

    attributes: texts in `ATTRIBUTES`' order, by dimension.
    """
    table = page.table
    start_time = table["position_time"]
    billed = table["billed_cost"]
    columns: dict[str, Any] = {}
    for name in _SHOWN:
        columns[name] = table[name]
        if name == "is_reversal":
            columns["start_time"] = start_time
    columns["end_time"] = pc.coalesce(table["end_time"], start_time)
    for name in ("effective_cost", "list_cost", "contracted_cost"):
        columns[name] = pc.coalesce(table[name], billed)
    outcomes = pc.subtract(table["outcome"], pa.scalar(1, pa.int32())).combine_chunks()
    columns["outcome"] = pa.DictionaryArray.from_arrays(outcomes, pa.array(_OUTCOMES))
    indices = pc.index_in(
        table["dimension_id"], value_set=pa.array(page.dimension_ids, pa.int64())
    ).combine_chunks()
    rows = [attributes[dimension_id] for dimension_id in page.dimension_ids]
    for name, texts in zip(ATTRIBUTES, zip(*rows, strict=True), strict=True):
        columns[_NAMES.get(name, name)] = pa.DictionaryArray.from_arrays(
            indices, pa.array(texts, pa.string())
        )
    whole = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    return sink.getvalue()
