"""Published traces of AI requests as events, one a request, told apart by their header.

Azure LLM inference (`TIMESTAMP, ContextTokens, GeneratedTokens`), Mooncake (`timestamp_ms,
input_tokens, output_tokens, prefix_blocks, prefix_blocks_seen_before`) and BurstGPT (`Timestamp,
Model, Request tokens, Response tokens, Total tokens, Log Type`): resource_type `llm`, the quantity
is input and output tokens together, the meters are `input_token` (not cached), `cached_input_token`
and `output_token`. A cached prefix is counted in blocks of 512 tokens and never exceeds the input.
A BurstGPT request without any token failed.

Alibaba GenAI (`gmt_create, predict_status, exec_time_seconds, groupId, ...`): resource_type
`image_generation`, the quantity is the GPU seconds, the meters are `gpu_second` and `image`, which
is left out where the row does not say. The group is the project, the checkpoint the resource id.

Mooncake and BurstGPT count from zero, so they need the start of the trace. Instants are exact to
the microsecond; a seventh digit is cut off. Such requests are rated by the price book: none has a
cost.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from services.usage.domain.event import Attributes, Outcome, UsageEvent
from services.usage.service.importers.attributes import LENGTHS_MAX, cell_text
from services.usage.service.importers.charges import Cells, EventReader
from services.usage.service.importers.rows import (
    ImportKind,
    ImportOptions,
    MissingColumns,
    RowProblem,
    TraceStartRequired,
)
from services.usage.service.importers.tables import Columns
from services.usage.service.importers.values import (
    NO_VALUE,
    Remembered,
    bounded,
    instant,
    number,
    shifted,
    whole_number,
)

KIND_NAME = "a trace of AI requests"
PREFIX_BLOCK_TOKENS = 512  # Mooncake hashes prefixes in blocks of this size
LLM = "llm"
TOKEN = "token"  # noqa: S105 - a unit
INPUT, CACHED_INPUT, OUTPUT = "input_token", "cached_input_token", "output_token"
IMAGE_GENERATION, GPU_SECOND, IMAGE = "image_generation", "gpu_second", "image"

_OUTCOMES = {
    "SUCCEED": Outcome.SUCCEEDED,
    "FAILED": Outcome.FAILED,
    "PENDING": Outcome.PENDING,
}
_MILLISECONDS = 1000
_OFFSET_MAX = 10**12  # milliseconds: 31 years


class Trace(NamedTuple):
    """One published trace: the columns it is known by, and its reader."""

    name: str
    columns: tuple[str, ...]
    reader: Callable[[Columns, ImportOptions], EventReader]


def _azure_reader(columns: Columns, options: ImportOptions) -> EventReader:
    time, context, generated = (columns.find(name) for name in _AZURE_COLUMNS)
    attributes = _token_attributes(options.model)
    source = options.source_of(ImportKind.LLM_TRACE)

    def read(cells: Cells, event_id: str) -> UsageEvent:
        at = instant(cells[time], "TIMESTAMP")
        inputs = whole_number(cells[context], "ContextTokens")
        outputs = whole_number(cells[generated], "GeneratedTokens")
        components = ((INPUT, Decimal(inputs)), (OUTPUT, Decimal(outputs)))
        quantity = Decimal(inputs + outputs)
        return UsageEvent(source, event_id, at, at, attributes, quantity, components)

    return read


def _mooncake_reader(columns: Columns, options: ImportOptions) -> EventReader:
    time, input_cell, output_cell, _, seen_cell = (columns.find(name) for name in _MOONCAKE_COLUMNS)
    origin = _origin(options)
    attributes = _token_attributes(options.model)
    source = options.source_of(ImportKind.LLM_TRACE)

    def read(cells: Cells, event_id: str) -> UsageEvent:
        milliseconds = whole_number(cells[time], "timestamp_ms")
        if milliseconds > _OFFSET_MAX:
            raise RowProblem("timestamp_ms", "is too far from the start of the trace")
        at = shifted(origin, timedelta(milliseconds=milliseconds), "timestamp_ms")
        inputs = whole_number(cells[input_cell], "input_tokens")
        outputs = whole_number(cells[output_cell], "output_tokens")
        seen = whole_number(cells[seen_cell], "prefix_blocks_seen_before")
        cached = min(seen * PREFIX_BLOCK_TOKENS, inputs)
        components = (
            (INPUT, Decimal(inputs - cached)),
            (CACHED_INPUT, Decimal(cached)),
            (OUTPUT, Decimal(outputs)),
        )
        quantity = Decimal(inputs + outputs)
        return UsageEvent(source, event_id, at, at, attributes, quantity, components)

    return read


def _burstgpt_reader(columns: Columns, options: ImportOptions) -> EventReader:
    time, model, request, response, total, log = (columns.find(name) for name in _BURSTGPT_COLUMNS)
    origin = _origin(options)
    source = options.source_of(ImportKind.LLM_TRACE)

    def attributes_of(key: tuple[str, str]) -> Attributes:
        name = bounded(cell_text(key[0]), "Model", LENGTHS_MAX["resource_id"]) or options.model
        log_type = bounded(cell_text(key[1]), "Log Type", LENGTHS_MAX["resource_type"])
        return _token_attributes(name, (("log_type", log_type),) if log_type else ())

    attributes = Remembered(attributes_of)

    def read(cells: Cells, event_id: str) -> UsageEvent:
        at = shifted(origin, _seconds(cells[time], "Timestamp"), "Timestamp")
        inputs = whole_number(cells[request], "Request tokens")
        outputs = whole_number(cells[response], "Response tokens")
        tokens = whole_number(cells[total], "Total tokens")
        if tokens != inputs + outputs:
            raise RowProblem("Total tokens", "is not the sum of request and response tokens")
        return UsageEvent(
            source,
            event_id,
            at,
            at,
            attributes((cells[model], cells[log])),
            Decimal(tokens),
            ((INPUT, Decimal(inputs)), (OUTPUT, Decimal(outputs))),
            None,
            Outcome.SUCCEEDED if tokens else Outcome.FAILED,
        )

    return read


def _alibaba_reader(columns: Columns, options: ImportOptions) -> EventReader:
    time, status, seconds, group, images = (columns.find(name) for name in _ALIBABA_COLUMNS)
    model = columns.find("checkpoint_model_version_id")
    task = columns.find("predict_type")
    source = options.source_of(ImportKind.LLM_TRACE)

    def attributes_of(key: tuple[str, str, str]) -> Attributes:
        group_text, model_text, task_text = (cell_text(cell) for cell in key)
        task_name = bounded(task_text, "predict_type", LENGTHS_MAX["resource_type"])
        return Attributes(
            resource_type=IMAGE_GENERATION,
            unit=GPU_SECOND,
            currency_code="",
            project=bounded(group_text, "groupId", LENGTHS_MAX["project"]),
            resource_id=bounded(
                model_text, "checkpoint_model_version_id", LENGTHS_MAX["resource_id"]
            )
            or options.model,
            tags=(("predict_type", task_name),) if task_name else (),
        )

    attributes = Remembered(attributes_of)

    def read(cells: Cells, event_id: str) -> UsageEvent:
        at = instant(cells[time], "gmt_create")
        outcome = _OUTCOMES.get(cells[status])
        if outcome is None:
            raise RowProblem("predict_status", f"is not known: {cells[status][:40]!r}")
        worked = _non_negative(cells[seconds], "exec_time_seconds", outcome)
        components = [(GPU_SECOND, worked)]
        if cells[images] not in NO_VALUE:
            count = whole_number(cells[images], "num_images_per_prompt")
            components.append((IMAGE, Decimal(count)))
        return UsageEvent(
            source,
            event_id,
            at,
            at,
            attributes((cells[group], cells[model], cells[task])),
            worked,
            tuple(components),
            None,
            outcome,
            latency_ms=int(worked * _MILLISECONDS),
        )

    return read


def _non_negative(text: str, column: str, outcome: Outcome) -> Decimal:
    """Reads seconds of work; only work that has not ended may leave them blank."""
    if text in NO_VALUE and outcome is Outcome.PENDING:
        return Decimal(0)
    seconds = number(text, column)
    if seconds < 0 or seconds > _OFFSET_MAX // _MILLISECONDS:
        raise RowProblem(column, f"is not a number of seconds: {text[:40]!r}")
    return seconds


def _seconds(text: str, column: str) -> timedelta:
    """Reads seconds after the start, to the microsecond."""
    if text.isascii() and text.isdigit() and len(text) < len(str(_OFFSET_MAX)):
        return timedelta(seconds=int(text))
    seconds = _non_negative(text, column, Outcome.SUCCEEDED)
    return timedelta(microseconds=int(seconds.scaleb(6)))


def _token_attributes(model: str, tags: tuple[tuple[str, str], ...] = ()) -> Attributes:
    return Attributes(resource_type=LLM, unit=TOKEN, currency_code="", resource_id=model, tags=tags)


def _origin(options: ImportOptions) -> datetime:
    if options.start_at is None:
        raise TraceStartRequired
    return options.start_at.astimezone(UTC)


_AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MOONCAKE_COLUMNS = (
    "timestamp_ms",
    "input_tokens",
    "output_tokens",
    "prefix_blocks",
    "prefix_blocks_seen_before",
)
_BURSTGPT_COLUMNS = (
    "Timestamp",
    "Model",
    "Request tokens",
    "Response tokens",
    "Total tokens",
    "Log Type",
)
_ALIBABA_COLUMNS = (
    "gmt_create",
    "predict_status",
    "exec_time_seconds",
    "groupId",
    "num_images_per_prompt",
)
_TRACES = (
    Trace("Azure LLM inference", _AZURE_COLUMNS, _azure_reader),
    Trace("Mooncake", _MOONCAKE_COLUMNS, _mooncake_reader),
    Trace("BurstGPT", _BURSTGPT_COLUMNS, _burstgpt_reader),
    Trace("Alibaba GenAI", _ALIBABA_COLUMNS, _alibaba_reader),
)


def trace_of(columns: Columns) -> Trace | None:
    """Returns the trace a header is of, or None."""
    return next((trace for trace in _TRACES if all(n in columns for n in trace.columns)), None)


def trace_variant(columns: Columns) -> str:
    """Returns the trace's name. Raises MissingColumns."""
    return _known_trace(columns).name


def trace_reader(columns: Columns, options: ImportOptions) -> EventReader:
    """Returns the reader of rows under this header. Raises MissingColumns, TraceStartRequired."""
    return _known_trace(columns).reader(columns, options)


def _known_trace(columns: Columns) -> Trace:
    """Returns the trace a header is of. Raises MissingColumns, of the trace it has most of."""
    trace = trace_of(columns)
    if trace is None:
        nearest = max(_TRACES, key=lambda item: sum(name in columns for name in item.columns))
        raise MissingColumns(
            f"{KIND_NAME}, nor {nearest.name}",
            [name for name in nearest.columns if name not in columns],
        )
    return trace
