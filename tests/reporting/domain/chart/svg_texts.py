"""Reads where texts are in an SVG, from its own transforms and the widths of the letters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from services.reporting.domain.chart.lettering import width_of

SVG: Final = "{http://www.w3.org/2000/svg}"
_TRANSLATE: Final = re.compile(r"translate\(\s*([-\d.e]+)\s*[, ]\s*([-\d.e]+)\s*\)")
# Of a line's height, above and below its baseline.
_ASCENT, _DESCENT = 0.72, 0.2


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text and its box in pixels."""

    text: str
    size: float
    fill: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Text, *, slack: float = 0.5) -> bool:
        """Tells whether two boxes share more than the slack."""
        return (
            min(self.right, other.right) - max(self.left, other.left) > slack
            and min(self.bottom, other.bottom) - max(self.top, other.top) > slack
        )


def parsed(svg: bytes) -> ET.Element:
    """Returns the root. Raises ParseError for what is not well-formed."""
    return ET.fromstring(svg)  # noqa: S314 - made by the code under test


def texts_of(root: ET.Element) -> list[Text]:
    """Returns all texts that are seen."""
    return list(_texts(root, 0.0, 0.0, 1.0))


def _texts(node: ET.Element, x: float, y: float, seen: float) -> Iterator[Text]:
    transform = node.get("transform", "")
    for across, down in _TRANSLATE.findall(transform):
        x, y = x + float(across), y + float(down)
    seen *= float(node.get("opacity", "1"))
    if node.tag == f"{SVG}text" and seen > 0:
        assert "rotate" not in transform.replace("rotate(0)", ""), "a label lies on its side"
        yield from _lines(node, x, y)
    for child in node:
        yield from _texts(child, x, y, seen)


def _lines(node: ET.Element, x: float, y: float) -> Iterator[Text]:
    size = float((node.get("font-size") or "11").removesuffix("px"))
    is_bold = node.get("font-weight") == "bold"
    anchor = node.get("text-anchor", "start")
    spans = [child for child in node if child.tag == f"{SVG}tspan"]
    lines = [(span.text or "", float(span.get("dy", "0"))) for span in spans]
    for text, down in lines or [(node.text or "", 0.0)]:
        y += down
        if text.strip():
            width = width_of(text, size, is_bold=is_bold)
            left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            yield Text(
                text=text,
                size=size,
                fill=node.get("fill", "#000000"),
                left=left,
                top=y - _ASCENT * size,
                right=left + width,
                bottom=y + _DESCENT * size,
            )
