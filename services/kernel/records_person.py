"""SQL that finds a person in a column, and puts a pseudonym there.

Nothing is parsed and written anew: texts are replaced where they stand, so that every amount beside
them keeps its last digit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.kernel.records import PERSON_FIELDS, Form, InvalidPseudonym

_BEFORE: Final = r"(?<![[:alnum:]_.@-])"
_AFTER: Final = r"(?![[:alnum:]_@-]|\.[[:alnum:]])"
# The four digits of a JSON escape that stands for a control, a sign, a space or an emoji. Of other
# signs it is not known, so that they count as letters.
_SIGN: Final = (
    r"(?:00(?:[0189][0-9a-f]|2[0-9a-cf]|3[a-f]|5[b-e]|60|7[b-f]|a[0-9b-f]|b[014678bf]|[df]7)"
    r"|20[0-6a-c][0-9a-f]|21[9a-f][0-9a-f]|2[235-7][0-9a-f]{2}|30(?:0[0-489a-f]|1[0-9a-f])"
    r"|fe[013-6][0-9a-f]|feff|ff(?:0[1-9a-f]|1[a-f]|20|3[b-f]|40|5[b-f]|6[0-5])"
    r"|d83[c-e]\\ud[c-f][0-9a-f]{2})"
)
# In JSON an escape is one character, whatever letters it is written with: an id begins after one,
# never within, and ends before one unless that is a letter.
_BEFORE_IN_JSON: Final = (
    r"(?<=(?:^|[^\\[:alnum:]_.@-])"
    rf"|(?:^|[^\\])(?:\\\\)*\\(?:[nrtbf\\]|u{_SIGN}))"
)
_LETTER_ESCAPED: Final = rf"\\u(?!{_SIGN})"
_AFTER_IN_JSON: Final = rf"(?![[:alnum:]_@-]|{_LETTER_ESCAPED}|\.(?:[[:alnum:]]|{_LETTER_ESCAPED}))"
# Followed by the end of a JSON text that is a value: one that is a name ends before a colon.
_WITHIN_VALUE: Final = r'(?=(?:[^"\\]|\\.)*"\s*[,}\]])'
_AS_BYTES: Final = (Form.PAYLOAD, Form.TOLD)
_PSEUDONYM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_NAMES: Final = "|".join(sorted(PERSON_FIELDS))


@dataclass(slots=True)
class Question:
    """The values of one statement, which stands in it as $1, $2 and so on."""

    values: list[str] = field(default_factory=list)

    def bind(self, value: str) -> str:
        """Returns the place of a text, the same one for an equal text."""
        if value not in self.values:
            self.values.append(value)
        return f"${self.values.index(value) + 1}::text"


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a statement is about. pseudonym: "" where it only looks.

    A pseudonym is written as it is into texts, JSON and replacements of regular expressions, so
    that it has no character that means anything there. Raises InvalidPseudonym.
    """

    subject_id: str
    pseudonym: str = ""

    def __post_init__(self) -> None:
        """Refuses other pseudonyms."""
        if self.pseudonym and not _PSEUDONYM.fullmatch(self.pseudonym):
            raise InvalidPseudonym

    def spellings(self, *, is_within_text: bool = False) -> list[str]:
        """Returns the id as it stands between the quotes of a JSON text, whoever wrote that.

        is_within_text: of JSON that is itself a text in JSON, as providers write tags into bills.
        """
        found = _json_spellings(self.subject_id)
        if is_within_text:
            found = {twice for once in found for twice in _json_spellings(once)}
        return sorted(found)

    def spellings_in_words(self) -> list[str]:
        """Returns the id as it stands in a text: filters and excerpts of JSON quote it."""
        return sorted({self.subject_id, *self.spellings()})

    def _json_pattern(self, *, is_within_text: bool = False) -> str:
        return _one_of(self.spellings(is_within_text=is_within_text))

    def in_words(self, text: str) -> str:
        """Returns a text with the pseudonym wherever the id is a word, as Form.WORDS does."""
        one = "|".join(map(re.escape, self.spellings_in_words()))
        word = rf"(?<![\w.@-])(?:{one})(?![\w@-]|\.\w)"
        return re.sub(word, lambda _: self.pseudonym, text)

    def condition(self, question: Question, column: str, form: Form, kind: str) -> str:
        """Returns the SQL condition that a column names the person. kind: the column's type."""
        text = _as_text(column, form, kind)
        match form:
            case Form.ID:
                return f"{column} = {question.bind(self.subject_id)}"
            case Form.LIST:
                return f"{question.bind(self.subject_id)} = ANY({column})"
            case _:
                looks = [f"{text} ~ {question.bind(each)}" for each in self._patterns(form, kind)]
                return f"({' OR '.join(looks)})"

    def replaced(self, question: Question, column: str, form: Form, kind: str) -> str:
        """Returns the SQL expression of the column with the pseudonym in the person's place."""
        match form:
            case Form.ID:
                other = question.bind(self.pseudonym)
                one = question.bind(self.subject_id)
                return f"CASE WHEN {column} = {one} THEN {other} ELSE {column} END"
            case Form.LIST:
                one, other = question.bind(self.subject_id), question.bind(self.pseudonym)
                return f"array_replace({column}, {one}, {other})"
            case Form.WORDS | Form.TOLD:
                other = question.bind(self.pseudonym)
                pattern = question.bind(self._patterns(form, kind)[0])
                text = _as_text(column, form, kind)
                return _as_kind(f"regexp_replace({text}, {pattern}, {other}, 'g')", form, kind)
            case _:
                text = _as_text(column, form, kind)
                put = question.bind(rf"\1{self.pseudonym}")
                for pattern in self._patterns(form, kind):
                    text = f"regexp_replace({text}, {question.bind(pattern)}, {put}, 'g')"
                return _as_kind(text, form, kind)

    def _patterns(self, form: Form, kind: str) -> tuple[str, ...]:
        if form in (Form.WORDS, Form.TOLD):
            if kind != "jsonb" and form is Form.WORDS:
                return (f"{_BEFORE}{_one_of(self.spellings_in_words())}{_AFTER}",)
            # An id may look like a number or a name of JSON, which are nobody's.
            # A text in JSON may be a filter or an excerpt, which quotes the id by itself.
            spelled = {*self.spellings(), *self.spellings(is_within_text=True)}
            word = f"{_BEFORE_IN_JSON}{_one_of(sorted(spelled))}{_AFTER_IN_JSON}"
            return (f"{word}{_WITHIN_VALUE}",)
        value = self._json_pattern()
        if form is Form.LABELS:
            inner = self._json_pattern(is_within_text=True)
            return (
                rf'([:\[,]\s*"){value}(?="\s*[,}}\]])',
                rf'([:\[,]\s*\\"){inner}(?=\\"\s*[,}}\]])',
            )
        named = rf'"(?:{_NAMES})"\s*:\s*'
        return (
            rf'({named}"){value}(?=")',
            rf'({named}\[(?:[^]\[]*,\s*)?"){value}(?="\s*[,\]])',
        )


def _as_text(column: str, form: Form, kind: str) -> str:
    if form in _AS_BYTES:
        # The name of an encoding is of collation "C", which the text would take over: by that only
        # letters of ASCII are letters.
        return f"(convert_from({column}, 'UTF8') COLLATE \"default\")"
    return column if kind == "text" else f"{column}::text"


def _as_kind(text: str, form: Form, kind: str) -> str:
    return f"convert_to({text}, 'UTF8')" if form in _AS_BYTES else f"({text})::{kind}"


def _json_spellings(text: str) -> set[str]:
    return {json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}


def escaped(text: str) -> str:
    """Returns a text as a regular expression of PostgreSQL that matches it alone.

    Only ASCII means anything there; before a letter, as PostgreSQL sees it, a backslash is an
    error, and it sees one in vowel signs, where Python does not.
    """
    return re.sub(r"([!-/:-@\[-^`{-~])", r"\\\1", text)


def _one_of(texts: list[str]) -> str:
    return "(?:" + "|".join(map(escaped, texts)) + ")"


def any_of(person: Person, question: Question, columns: Mapping[str, tuple[Form, str]]) -> str:
    """Returns the condition that at least one of the columns names the person."""
    return " OR ".join(
        person.condition(question, f"r.{name}", form, kind)
        for name, (form, kind) in columns.items()
    )
