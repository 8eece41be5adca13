"""Path templates of `google.api.http`: parsing, and reading what a path gives for their variables.

Source: google/api/http.proto, "Path template syntax", and grpc-gateway's httprule package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

STAR = "*"
REST = "**"

_LITERAL = re.compile(r"[^/{}=*:]+")
_FIELD_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
# In a variable of several segments an encoded slash stays encoded: it is data, not a separator.
_ENCODED_SLASH = re.compile(r"(%2[fF])")


class TemplateSyntax(ValueError):
    """A path template in a contract does not follow the grammar."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A field that takes its value from segments `start` up to `end` (None: to the last)."""

    field: str
    start: int
    end: int | None
    is_multiple: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: segments are literals, `*` or `**`; `verb` follows the last colon."""

    segments: tuple[str, ...]
    variables: tuple[Variable, ...]
    verb: str

    def capture(self, segments: list[str]) -> dict[str, str]:
        """Returns the value of each variable; the segments are still percent-encoded and match.

        Raises UnicodeDecodeError where an encoded byte sequence is not UTF-8.
        """
        return {
            variable.field: _decode(segments[variable.start : variable.end], variable.is_multiple)
            for variable in self.variables
        }


def parse_template(text: str) -> Template:
    """Parses a template such as `/v1/{name=projects/*/things/*}:verb`. Raises TemplateSyntax."""
    return _Parser(text).parse()


def decode_segment(segment: str) -> str:
    """Decodes one segment. Raises UnicodeDecodeError where it is not UTF-8."""
    return unquote(segment, errors="strict")


def _decode(segments: list[str], is_multiple: bool) -> str:  # noqa: FBT001 - two kinds of decoding
    if not is_multiple:
        return decode_segment(segments[0])
    pieces = _ENCODED_SLASH.split("/".join(segments))
    return "".join(
        piece if index % 2 else decode_segment(piece) for index, piece in enumerate(pieces)
    )


class _Parser:
    """Reads one template from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._segments: list[str] = []
        self._variables: list[Variable] = []

    def parse(self) -> Template:
        if not self._take("/"):
            raise self._error("a template begins with a slash")
        if self._at < len(self._text):
            self._read_segments(in_variable=False)
        verb = ""
        if self._take(":"):
            verb = self._match(_LITERAL, "a verb")
        if self._at != len(self._text):
            raise self._error("nothing may follow")
        if REST in self._segments[:-1]:
            raise self._error("`**` stands only at the end")
        fields = [variable.field for variable in self._variables]
        if len(set(fields)) != len(fields):
            raise self._error("a variable stands only once")
        return Template(tuple(self._segments), tuple(self._variables), verb)

    def _read_segments(self, *, in_variable: bool) -> None:
        self._read_segment(in_variable=in_variable)
        while self._take("/"):
            self._read_segment(in_variable=in_variable)

    def _read_segment(self, *, in_variable: bool) -> None:
        if self._take(REST):
            self._segments.append(REST)
        elif self._take(STAR):
            self._segments.append(STAR)
        elif not in_variable and self._take("{"):
            self._read_variable()
        else:
            self._segments.append(self._match(_LITERAL, "a segment"))

    def _read_variable(self) -> None:
        field = self._match(_FIELD_PATH, "a field path")
        start = len(self._segments)
        if self._take("="):
            self._read_segments(in_variable=True)
        else:
            self._segments.append(STAR)
        if not self._take("}"):
            raise self._error("a variable ends with a brace")
        inner = self._segments[start:]
        has_rest = REST in inner
        is_multiple = has_rest or len(inner) > 1
        end = None if has_rest else len(self._segments)
        self._variables.append(Variable(field, start, end, is_multiple))

    def _take(self, token: str) -> bool:
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise self._error(f"{what} is expected")
        self._at = match.end()
        return match.group()

    def _error(self, problem: str) -> TemplateSyntax:
        return TemplateSyntax(f"{self._text!r}, column {self._at + 1}: {problem}")
