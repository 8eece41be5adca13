"""Cost as area: the larger a tile, the more it cost; tiles of one group lie together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from services.kernel.money import add_exactly
from services.reporting.domain.chart.amounts import share_text
from services.reporting.domain.chart.bar_rows import pixels
from services.reporting.domain.chart.canvas import (
    Canvas,
    Spec,
    drawn,
    empty,
    exact,
    picture,
    text_mark,
)
from services.reporting.domain.chart.lettering import SMALLEST, clean, shortened, width_of
from services.reporting.domain.chart.ranking import Ranked, largest_groups
from services.reporting.domain.chart.rows import GroupCost
from services.reporting.domain.chart.theme import text_on

PARENTS_MAX: Final = 7
TILES_MAX: Final = 8  # in one parent
_HEIGHT: Final = 380
_NAME_SIZE: Final = 12
_INSET: Final = 7
_HEAD: Final = 22  # pixels of a parent's name
_TWO_LINES: Final = 40
_ONE_LINE: Final = 22
_LETTERS_MIN: Final = 4


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float


def treemap(rows: Sequence[GroupCost], canvas: Canvas) -> Spec:
    """Returns tiles. rows: with a parent each, or all without."""
    # An area is never below zero: credits are told in words.
    shown = [row for row in rows if row.cost > 0]
    if not shown:
        return empty(canvas, "No cost was recorded for this question.")
    credits_ = add_exactly(row.cost for row in rows if row.cost < 0)
    if credits_:
        note = f"without credits of {canvas.money.text(credits_)}"
        canvas = canvas.noted(note)
    whole = Box(0, 0, canvas.inner_width, canvas.inner_height(_HEIGHT))
    drawing = _Drawing(canvas, add_exactly(row.cost for row in shown))
    if any(row.parent for row in shown):
        drawing.nested(shown, whole)
    else:
        groups = largest_groups(shown, PARENTS_MAX + TILES_MAX)
        drawing.tiles(groups, whole, canvas.theme.accent)
    return drawing.picture()


class _Drawing:
    """Tiles and names as they come."""

    def __init__(self, canvas: Canvas, total: Decimal) -> None:
        self._canvas = canvas
        self._total = total
        self._labels = canvas.money.labels([total])
        self._tiles: list[Spec] = []
        self._heads: list[Spec] = []

    def nested(self, rows: Sequence[GroupCost], whole: Box) -> None:
        """Lays out the tiles of each parent in the parent's box, below its name."""
        theme = self._canvas.theme
        by_parent: dict[str, list[GroupCost]] = defaultdict(list)
        for row in rows:
            by_parent[row.parent].append(row)
        parents = largest_groups([GroupCost(row.parent, row.cost) for row in rows], PARENTS_MAX)
        boxes = squarified([drawn(parent.cost) for parent in parents], whole)
        for place, (parent, box) in enumerate(zip(parents, boxes, strict=True)):
            colour = theme.rest if parent.is_rest else theme.series[place]
            inside = [row for name in parent.names for row in by_parent[name]]
            name = shortened(clean(parent.name), box.width - _INSET, _NAME_SIZE, is_bold=True)
            if box.height >= _HEAD + _ONE_LINE and _is_telling(name, parent.name):
                self._heads.append({"name": name, "x": box.x + 1, "y": box.y + _HEAD / 2})
                box = Box(box.x, box.y + _HEAD, box.width, box.height - _HEAD)  # noqa: PLW2901 - what is left
            self.tiles(largest_groups(inside, TILES_MAX), box, colour, parent.name)

    def tiles(self, groups: Sequence[Ranked], box: Box, colour: str, parent: str = "") -> None:
        """Lays out tiles in a box."""
        for group, tile in zip(
            groups, squarified([drawn(group.cost) for group in groups], box), strict=True
        ):
            self._tiles.append(self._tile(group, tile, colour, parent))

    def _tile(self, group: Ranked, tile: Box, colour: str, parent: str) -> Spec:
        room = tile.width - 2 * _INSET
        amount = self._labels(group.cost)
        has_name = tile.height >= _ONE_LINE
        has_amount = tile.height >= _TWO_LINES and width_of(amount, SMALLEST) <= room
        name = shortened(clean(group.name), room, _NAME_SIZE) if has_name else ""
        # An amount without a name, or a letter and three dots, tells nobody anything.
        name = name if _is_telling(name, group.name) else ""
        share = share_text(group.cost, self._total)
        full = " / ".join(filter(None, (clean(parent), clean(group.name))))
        return {
            "name": full,
            **exact("cost", group.cost),
            "label": name,
            "amount": amount if has_amount and name else "",
            "share": share,
            "said": f"{full}: {amount}, {share}",
            "colour": colour,
            "ink": text_on(colour),
            "x0": tile.x,
            "x1": tile.x + tile.width,
            "y0": tile.y,
            "y1": tile.y + tile.height,
            "textX": tile.x + _INSET,
            "nameY": tile.y + (15 if tile.height >= _TWO_LINES else tile.height / 2),
            "amountY": tile.y + 31,
        }

    def picture(self) -> Spec:
        """Returns the whole picture."""
        theme = self._canvas.theme
        tile = {
            "mark": {"type": "rect", "stroke": theme.background, "strokeWidth": 2},
            "encoding": {
                "x": pixels("x0"),
                "x2": {"field": "x1"},
                "y": pixels("y0"),
                "y2": {"field": "y1"},
                "color": {"field": "colour", "type": "nominal", "scale": None},
                "description": {"field": "said"},
                "tooltip": [
                    {"field": "name", "title": "Group"},
                    {"field": "cost_exact", "title": "Cost"},
                    {"field": "share", "title": "Share"},
                ],
            },
        }
        layers = [tile, _text("label", "nameY", _NAME_SIZE), _text("amount", "amountY", SMALLEST)]
        if self._heads:
            mark = text_mark(theme.text, size=_NAME_SIZE, is_bold=True)
            text = {"x": pixels("x"), "y": pixels("y"), "text": {"field": "name"}}
            layers.append({"data": {"values": self._heads}, "mark": mark, "encoding": text})
        return picture(self._canvas, layers, liked_height=_HEIGHT, values=self._tiles)


def _is_telling(name: str, whole: str) -> bool:
    return len(name) > _LETTERS_MIN or (bool(name) and name == clean(whole))


def _text(field: str, y: str, size: int) -> Spec:
    mark = {name: value for name, value in text_mark("", size=size).items() if name != "fill"}
    return {
        "mark": mark,
        "encoding": {
            "x": pixels("textX"),
            "y": pixels(y),
            "text": {"field": field},
            "color": {"field": "ink", "type": "nominal", "scale": None},
        },
    }


def squarified(sizes: Sequence[float], box: Box) -> list[Box]:
    """Divides a box into boxes of these sizes, largest first, each as square as it can be.

    sizes: above zero; they are taken in proportion. Their boxes fill the whole box.
    Source: Bruls, Huizing, van Wijk, Squarified Treemaps, 2000.
    """
    scale = box.width * box.height / sum(sizes)
    areas = [size * scale for size in sizes]
    boxes: list[Box] = []
    left = box
    while len(boxes) < len(areas):
        row = [areas[len(boxes)]]
        side = min(left.width, left.height)
        for area in areas[len(boxes) + 1 :]:
            if _worst([*row, area], side) > _worst(row, side):
                break
            row.append(area)
        placed, left = _placed(row, left)
        boxes += placed
    return boxes


def _worst(row: Sequence[float], side: float) -> float:
    """Returns the ratio of the sides of the least square box of a row along a side."""
    thickness = sum(row) / side if side else 0.0
    if not thickness:
        return math.inf
    return max(max(thickness**2 / area, area / thickness**2) for area in row)


def _placed(row: Sequence[float], box: Box) -> tuple[list[Box], Box]:
    """Returns the boxes of a row along the shorter side, and what is left of the box."""
    is_column = box.width >= box.height
    side, room = (box.height, box.width) if is_column else (box.width, box.height)
    # What a rounded sliver of a box would divide by must not lead out of the whole.
    thickness = min(sum(row) / side, room) if side else 0.0
    boxes, at = [], 0.0
    for area in row:
        length = min(area / thickness, side - at) if thickness else 0.0
        if is_column:
            boxes.append(Box(box.x, box.y + at, thickness, length))
        else:
            boxes.append(Box(box.x + at, box.y, length, thickness))
        at += length
    if is_column:
        left = Box(box.x + thickness, box.y, max(box.width - thickness, 0), box.height)
    else:
        left = Box(box.x, box.y + thickness, box.width, max(box.height - thickness, 0))
    return boxes, left
