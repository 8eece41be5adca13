"""Text in pictures: cleaned of what breaks a file, measured, shortened and broken into lines."""

from __future__ import annotations

import unicodedata
from typing import Final

# What no name is without: the font of each system that has these widths, then any sans serif.
FONT: Final = "Arial, Helvetica, Liberation Sans, Source Sans Pro, sans-serif"
# Nothing in a picture is smaller, in pixels.
SMALLEST: Final = 11
TITLE: Final = 15
ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
# Lines that a long title or text is broken into at most; what is beyond is cut.
LINES_MAX: Final = 3

# Widths of Helvetica in thousandths of the font's size, which Arial and Liberation Sans share.
# Source: Adobe Font Metrics of the PostScript core fonts.
_WIDTHS: Final[dict[str, int]] = {
    letter: width
    for width, letters in {
        191: "'",
        222: "ijl",
        260: "|",
        278: " !,./:;I[\\]ft",
        333: "()-`r",
        334: "{}",
        355: '"',
        469: "^",
        500: "Jckvxsyz",
        556: "#$0123456789?L_abdeghnopqu",
        584: "+<=>~",
        611: "FTZ",
        667: "&ABEKPSVXY",
        722: "CDHNRUw",
        778: "GOQ",
        833: "Mm",
        889: "%",
        944: "W",
        1015: "@",
    }.items()
    for letter in letters
}
_OTHER_WIDTH: Final = 667
_FULL_WIDTH: Final = 1_000
# Bold letters are so much wider, taken together.
_BOLD: Final = 1.08


def clean(text: str) -> str:
    """Returns text that every format can hold: on one line, without control characters.

    Half surrogates, which no encoding writes, go too.
    """
    spaced = "".join(" " if letter.isspace() else letter for letter in text)
    kept = (
        letter
        for letter in spaced
        if unicodedata.category(letter) not in ("Cc", "Cs") and letter not in "\ufffe\uffff"
    )
    return " ".join("".join(kept).split())


def width_of(text: str, size: float, *, is_bold: bool = False) -> float:
    """Returns the width of a text in pixels at a font size in pixels.

    Exact for ASCII in Arial's widths; other letters are taken as wide ones.
    """
    total = sum(_WIDTHS.get(letter) or _unlisted(letter) for letter in text)
    return total * size / 1_000 * (_BOLD if is_bold else 1.0)


def _unlisted(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return _FULL_WIDTH if unicodedata.east_asian_width(letter) in "WF" else _OTHER_WIDTH


def shortened(text: str, pixels: float, size: float, *, is_bold: bool = False) -> str:
    """Returns the text, or as much of it as fits with an ellipsis; empty where nothing does."""
    if width_of(text, size, is_bold=is_bold) <= pixels:
        return text
    for length in range(len(text) - 1, 0, -1):
        cut = text[:length].rstrip() + ELLIPSIS
        if width_of(cut, size, is_bold=is_bold) <= pixels:
            return cut
    return ""


def lines_of(text: str, pixels: float, size: float, *, is_bold: bool = False) -> list[str]:
    """Breaks a text at its spaces into at most LINES_MAX lines, the last one shortened.

    Spaces that do not break are letters.
    """
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        fits = width_of(longer, size, is_bold=is_bold) <= pixels
        if lines and (fits or len(lines) == LINES_MAX):
            lines[-1] = longer
        else:
            lines.append(word)
    return [shortened(line, pixels, size, is_bold=is_bold) for line in lines]
