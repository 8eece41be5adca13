"""What an import gives for each row, what it can be told, and why it may refuse a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from services.kernel.errors import InvalidArgument
from services.usage.domain.event import SOURCE_LENGTH_MAX, UsageEvent

EXCERPT_LENGTH_MAX = 200


class ImportKind(StrEnum):
    """Kinds of file, by the names the contract and the command line use."""

    FOCUS = "focus"
    AWS_CUR = "aws-cur"
    AZURE = "azure"
    OCI = "oci"
    LLM_TRACE = "llm-trace"
    NDJSON = "ndjson"
    CLOUDEVENTS = "cloudevents"


class UnreadableImportFile(InvalidArgument):
    """The file cannot be read as a table or as lines of JSON; export it again as UTF-8 text."""

    reason = "UNREADABLE_IMPORT_FILE"


class UnknownImportKind(InvalidArgument):
    """The file's columns belong to no known kind; name its kind, or check that it has a header."""

    reason = "UNKNOWN_IMPORT_KIND"


class MissingColumns(InvalidArgument):
    """The file lacks columns that its kind cannot do without."""

    reason = "MISSING_COLUMNS"

    def __init__(self, kind: str, columns: Sequence[str]) -> None:
        """Takes what the file was read as, and the columns it lacks."""
        self.columns = tuple(columns)
        names = ", ".join(columns)
        super().__init__(
            f"the file is not {kind}: it has no column {names}", kind=kind, columns=names
        )


class TraceStartRequired(InvalidArgument):
    """The trace's clock starts at zero; name the instant it began with --start."""

    reason = "TRACE_START_REQUIRED"


class InvalidImportOption(InvalidArgument):
    """An import's options name an aware start, and a source of 1 to 128 printable characters."""

    reason = "INVALID_IMPORT_OPTION"


class ImportTooLarge(InvalidArgument):
    """A file has more rows than can be told apart in memory; split it, and give each a source."""

    reason = "IMPORT_TOO_LARGE"


@dataclass(frozen=True, slots=True)
class TagKeys:
    """Tags whose values say who bears a charge; of several that a row has, the first counts.

    Letter case, dashes, underscores and spaces do not count: `cost-center` finds `CostCenter`.
    """

    department: tuple[str, ...] = ("department", "dept", "cost-center")
    project: tuple[str, ...] = ("project", "app", "application")
    user_id: tuple[str, ...] = ("owner", "user")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a file itself does not say.

    model: resource id of LLM requests in traces that name no model. start_at: aware origin of a
    trace whose clock starts at zero. source: of the events, "" for `import/<kind>`; events of
    NDJSON and CloudEvents that name their own source keep it. tenant_id: the importing tenant;
    lines that name another are refused. Raises InvalidImportOption.
    """

    model: str = ""
    start_at: datetime | None = None
    source: str = ""
    tenant_id: str = ""
    tag_keys: TagKeys = field(default_factory=TagKeys)

    def __post_init__(self) -> None:
        if self.start_at is not None and self.start_at.tzinfo is None:
            raise InvalidImportOption("the start names a time zone, for example a trailing Z")
        if len(self.source) > SOURCE_LENGTH_MAX or not (self.source or "-").isprintable():
            raise InvalidImportOption(source=self.source[:80])

    def source_of(self, kind: ImportKind) -> str:
        """Returns the source that events of this import have."""
        return self.source or f"import/{kind.value}"


class Parsed(NamedTuple):
    """A row that is an event."""

    row_number: int
    event: UsageEvent


class Rejected(NamedTuple):
    """A row that is refused.

    reason: a sentence's end that follows the field's name. field: the column at fault, "" where it
    is the row as a whole. text_excerpt: the beginning of the row, at most 200 characters.
    """

    row_number: int
    reason: str
    field: str
    text_excerpt: str


Row = Parsed | Rejected


class RowProblem(Exception):
    """Carries why a row is refused from a reader to the loop that makes it a `Rejected`."""

    def __init__(self, column: str, reason: str, text: str = "") -> None:
        """Takes the column at fault, "" for the row as a whole, and what is wrong with it.

        text: the row as it stands in the file, where there are no cells to show.
        """
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason
        self.text = text


class ImportRows(Iterator[Row]):
    """The rows of one opened file, read as they are asked for.

    variant: what exactly the file is, for example `FOCUS 1.2`. ignored_columns: those the kind does
    not know, custom `x_` columns among them. bill_columns: those that events keep as text.
    """

    def __init__(
        self,
        rows: Iterator[Row],
        *,
        kind: ImportKind,
        variant: str,
        ignored_columns: Sequence[str],
        bill_columns: Sequence[str] = (),
    ) -> None:
        """Takes the rows and what is known of the file."""
        self._rows = rows
        self.kind = kind
        self.variant = variant
        self.ignored_columns = tuple(ignored_columns)
        self.bill_columns = tuple(bill_columns)

    def __next__(self) -> Row:
        """Returns the next row. Raises UnreadableImportFile where the file breaks off."""
        return next(self._rows)


def excerpt(text: str) -> str:
    """Returns the beginning of a row for a list of rejects, without what cannot be stored."""
    return text[:EXCERPT_LENGTH_MAX].replace("\x00", "\ufffd").encode(errors="replace").decode()
