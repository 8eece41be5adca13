"""The words of reports: English is written where it is used, German is looked up by it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.reporting.domain.report.document import Paragraph, Span
from services.reporting.domain.report.german import GERMAN

_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Wording:
    """Words in one language; in any other than German they are English."""

    language: str

    def word(self, english: str, **parts: str) -> str:
        """Returns a text in the language, with named parts in their places."""
        return _PLACE.sub(lambda found: parts[found[1]], self._translated(english))

    def say(self, english: str, **parts: Span) -> Paragraph:
        """Returns a text with numbers, or other texts, in their places."""
        pieces = _PLACE.split(self._translated(english))
        # Odd places are the names.
        spans = [parts[piece] if place % 2 else piece for place, piece in enumerate(pieces)]
        return tuple(span for span in spans if span != "")

    def _translated(self, english: str) -> str:
        return GERMAN.get(english, english) if self.language == "de" else english
