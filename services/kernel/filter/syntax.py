"""The filter language's syntax tree and its parser."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from services.kernel.filter.errors import FilterTooLarge, InvalidFilter

LENGTH_MAX = 4096  # characters; the contracts' own bound on `filter`
DEPTH_MAX = 16  # parentheses and negations; keeps the parser's recursion far from Python's limit
TERMS_MAX = 64  # comparisons; keeps the planner's work far below the query's own

_WORDS = ("AND", "OR", "NOT")
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z0-9_/@][A-Za-z0-9_/@\-]*", re.ASCII)
_COMPARATOR = re.compile(r"!=|<=|>=|[=<>:]")
# An unquoted value runs up to the next blank, so that times and negative numbers need no quotes.
_VALUE = re.compile(r"[^\s()\"',=<>!]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'', re.DOTALL)
_PIECE = re.compile(r"\\(.)|(\*)|([^\\*]+)", re.DOTALL)


class Comparator(Enum):
    """How a field is compared with a value."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Argument:
    """The value on the right of a comparator.

    pieces: the literal text around each wildcard, so one piece means that there is none.
    """

    pieces: tuple[str, ...]
    is_quoted: bool = False
    position: int = field(default=1, compare=False)

    @property
    def text(self) -> str:
        """The value as written, without quotes and escapes."""
        return "*".join(self.pieces)

    @property
    def is_pattern(self) -> bool:
        """Whether it holds a wildcard."""
        return len(self.pieces) > 1

    @property
    def is_anything(self) -> bool:
        """Whether it is `*` alone, which asks whether the field is set."""
        return self.is_pattern and not any(self.pieces)


@dataclass(frozen=True, slots=True)
class Restriction:
    """One comparison. path: the field's name, then the key inside of it, if one is named."""

    path: tuple[str, ...]
    comparator: Comparator
    argument: Argument
    position: int = field(default=1, compare=False)

    @property
    def key(self) -> str:
        """The key inside the field, empty without one; keys may hold dots of their own."""
        return ".".join(self.path[1:])


@dataclass(frozen=True, slots=True)
class Not:
    """Holds where its term does not."""

    term: Expression


@dataclass(frozen=True, slots=True)
class And:
    """Holds where all terms hold; without a term it holds always."""

    terms: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """Holds where at least one term holds."""

    terms: tuple[Expression, ...]


Expression: TypeAlias = Restriction | Not | And | Or


def parse_filter(text: str) -> Expression:
    """Reads a filter; an empty one is `And()`, which holds always.

    Raises FilterTooLarge above LENGTH_MAX, DEPTH_MAX or TERMS_MAX, else InvalidFilter with the
    position of the first character that does not fit.
    """
    if len(text) > LENGTH_MAX:
        raise FilterTooLarge(
            f"a filter has at most {LENGTH_MAX} characters, this one {len(text)}",
            position=LENGTH_MAX + 1,
        )
    if (zero := text.find("\0")) >= 0:
        raise InvalidFilter("the character zero is not text", position=zero + 1)
    return _Parser(text).filter()


class _Parser:
    """Recursive descent over the text: one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._terms = 0

    def filter(self) -> Expression:
        self._skip_space()
        if self._at == len(self._text):
            return And()
        expression = self._expression()
        if self._at < len(self._text):
            raise self._unexpected("AND, OR or the end")
        return expression

    def _expression(self) -> Expression:
        terms = [self._alternatives()]
        while self._take_word("AND"):
            terms.append(self._alternatives())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _alternatives(self) -> Expression:
        terms = [self._term()]
        while self._take_word("OR"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self) -> Expression:
        if self._take_word("NOT") or self._take("-"):
            self._enter()
            term = Not(self._term())
            self._depth -= 1
            return term
        if self._take("("):
            self._enter()
            expression = self._expression()
            if not self._take(")"):
                raise self._unexpected("AND, OR or a closing parenthesis")
            self._depth -= 1
            return expression
        return self._restriction()

    def _restriction(self) -> Restriction:
        start = self._at
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise FilterTooLarge(
                f"a filter has at most {TERMS_MAX} comparisons", position=start + 1
            )
        path = [self._name(is_field=True)]
        while self._text.startswith(".", self._at):
            self._at += 1
            path.append(self._name(is_field=False))
        self._skip_space()
        found = _COMPARATOR.match(self._text, self._at)
        if found is None:
            raise self._unexpected(f"one of = != < <= > >= : after {'.'.join(path)}")
        self._move_to(found.end())
        return Restriction(
            path=tuple(path),
            comparator=Comparator(found.group()),
            argument=self._argument(),
            position=start + 1,
        )

    def _name(self, *, is_field: bool) -> str:
        quoted = None if is_field else _QUOTED.match(self._text, self._at)
        if quoted is not None:
            self._at = quoted.end()
            return "*".join(_pieces(_inner(quoted)))
        found = _NAME.match(self._text, self._at)
        if found is None or (is_field and found.group() in _WORDS):
            raise self._unexpected("a field" if is_field else "a key after the dot")
        self._at = found.end()
        return found.group()

    def _argument(self) -> Argument:
        position = self._at + 1
        quoted = _QUOTED.match(self._text, self._at)
        if quoted is not None:
            self._move_to(quoted.end())
            return Argument(_pieces(_inner(quoted)), is_quoted=True, position=position)
        found = _VALUE.match(self._text, self._at)
        if found is None:
            raise self._unexpected("a value")
        if found.group() in _WORDS:
            raise InvalidFilter(
                f"a value is missing before {found.group()}; a value of that name needs quotes",
                position=position,
            )
        self._move_to(found.end())
        return Argument(_pieces(found.group()), position=position)

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise FilterTooLarge(
                f"a filter nests at most {DEPTH_MAX} parentheses and negations", position=self._at
            )

    def _take(self, character: str) -> bool:
        if not self._text.startswith(character, self._at):
            return False
        self._move_to(self._at + len(character))
        return True

    def _take_word(self, word: str) -> bool:
        found = _NAME.match(self._text, self._at)
        if found is None or found.group() != word:
            return False
        self._move_to(found.end())
        return True

    def _move_to(self, position: int) -> None:
        self._at = position
        self._skip_space()

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _unexpected(self, expected: str) -> InvalidFilter:
        rest = self._text[self._at : self._at + 20]
        if rest[:1] in ('"', "'") and _QUOTED.match(self._text, self._at) is None:
            return InvalidFilter("the quote is not closed", position=self._at + 1)
        word = _NAME.match(rest)
        hint = ""
        if word is not None and word.group() not in _WORDS and word.group().upper() in _WORDS:
            hint = f"; {word.group().upper()} is written in upper case"
        found = f"{rest!r}" if rest else "the end"
        return InvalidFilter(f"expected {expected}, found {found}{hint}", position=self._at + 1)


def _inner(quoted: re.Match[str]) -> str:
    return quoted.group(1) if quoted.group(1) is not None else quoted.group(2)


def _pieces(text: str) -> tuple[str, ...]:
    """Returns the literal text around each unescaped `*`; neighbouring wildcards are one."""
    pieces = [""]
    wildcard_before = False
    for escaped, star, literal in _PIECE.findall(text):
        if star and not wildcard_before:
            pieces.append("")
        wildcard_before = bool(star)
        pieces[-1] += escaped or literal
    return tuple(pieces)
