"""Pages of entries as Arrow: CSV from the database in, an IPC stream out, no objects between.

Attributes are dictionaries of the page's distinct texts, so that one that a thousand entries share
crosses the wire once.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from services.kernel.arrow import give_freed_memory_back
from services.usage.domain.event import Outcome
from services.usage.store.reading import ATTRIBUTES, COLUMNS

give_freed_memory_back()
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
_ATTRIBUTE_TYPES: Final[dict[str, Any]] = {"dimension_id": pa.int64()} | dict.fromkeys(
    ATTRIBUTES, pa.string()
)
# What is known of no dimension.
NO_ATTRIBUTES: Final = pa.schema(_ATTRIBUTE_TYPES).empty_table()
_PARSE: Final = pv.ParseOptions(newlines_in_values=True)
_OUTCOMES: Final = [outcome.name for outcome in sorted(Outcome)]
_SHOWN: Final = [name for name in COLUMNS if not name.startswith("position_")][1:]


class Page(NamedTuple):
    """Entries without their attributes, and the dimensions they have."""

    table: pa.Table
    dimension_ids: pa.Int64Array


def read_page(text: bytes) -> Page:
    """Reads a page of CSV in the order of `COLUMNS`, of a row at least."""
    table = _table(text, _TYPES)
    return Page(table, pc.unique(table["dimension_id"]))


def missing(page: Page, known: pa.Table) -> Sequence[int]:
    """Returns the page's dimensions of which nothing is known."""
    is_known = pc.is_in(page.dimension_ids, value_set=known["dimension_id"])
    found: list[int] = page.dimension_ids.filter(pc.invert(is_known)).to_pylist()
    return found


def with_more(known: pa.Table, text: bytes) -> pa.Table:
    """Returns what is known with what CSV says of more dimensions, in `ATTRIBUTES`' order."""
    return pa.concat_tables([known, _table(text, _ATTRIBUTE_TYPES)]).combine_chunks()


def write_page(page: Page, known: pa.Table) -> bytes:
    """Returns the page, with the attributes that are known of its dimensions, as an IPC stream."""
    table = page.table
    attributes = known.take(pc.index_in(page.dimension_ids, value_set=known["dimension_id"]))
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
    places = pc.index_in(table["dimension_id"], value_set=page.dimension_ids).combine_chunks()
    for name in ATTRIBUTES:
        # No page has so many entries that their texts could not be told by 16 bits.
        texts = attributes[name].combine_chunks().dictionary_encode()
        columns[_NAMES.get(name, name)] = pa.DictionaryArray.from_arrays(
            texts.indices.cast(pa.int16()).take(places), texts.dictionary
        )
    whole = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    return sink.getvalue()


def _table(text: bytes, types: dict[str, Any]) -> pa.Table:
    """Reads CSV without a header; nulls are empty, empty texts are quoted."""
    return pv.read_csv(
        pa.BufferReader(text),
        pv.ReadOptions(column_names=list(types), use_threads=False, block_size=len(text) + 1),
        _PARSE,
        pv.ConvertOptions(
            column_types=types,
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
