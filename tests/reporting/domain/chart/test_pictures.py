"""Pictures can be read: in both themes, at every width, whatever the names are."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest

from services.reporting.domain.chart.catalog import CHARTS
from services.reporting.domain.chart.theme import THEMES
from services.reporting.service.chart_drawing import SVG, drawn
from services.reporting.service.charts import (
    Look,
    Picture,
    spec_of,
    told,
    written,
)
from tests.reporting.domain.chart.samples import HOSTILE, samples
from tests.reporting.domain.chart.svg_texts import SVG as NAMESPACE
from tests.reporting.domain.chart.svg_texts import parsed, texts_of

SMALLEST = 10
SAMPLES = samples()
TITLE = "What was spent, and on what"


def picture_of(chart: str, rows: list[Any], *, title: str = TITLE) -> Picture:
    return Picture(
        chart=chart,
        rows=rows,
        title=title,
        subtitle="1 May to 14 June 2026, billed cost in USD",
        currency_code="USD",
    )


def drawing_of(picture: Picture, look: Look) -> bytes:
    svg = drawn(json.dumps(spec_of(picture, look)), SVG)
    return told(svg, SVG, picture)


def test_every_chart_has_a_sample() -> None:
    assert {chart for chart, _ in SAMPLES.values()} == set(CHARTS)


@pytest.mark.parametrize("width", [320, 960])
@pytest.mark.parametrize("name", SAMPLES)
def test_texts_lie_inside_apart_and_large_enough(name: str, width: int) -> None:
    root = parsed(drawing_of(picture_of(*SAMPLES[name]), Look(width=width)))

    texts = texts_of(root)
    height = float(root.get("height", "0"))
    assert float(root.get("width", "0")) == width
    assert len(texts) > 4
    for text in texts:
        assert text.size >= SMALLEST, text
        assert text.left >= 0, text
        assert text.right <= width, text
        assert text.top >= 0, text
        assert text.bottom <= height, text
    for one, other in combinations(texts, 2):
        assert not one.overlaps(other), (one, other)


@pytest.mark.parametrize("width", [320, 960])
@pytest.mark.parametrize("chart", CHARTS)
def test_without_rows_a_picture_says_so(chart: str, width: int) -> None:
    root = parsed(drawing_of(picture_of(chart, []), Look(width=width)))

    said = " ".join(text.text for text in texts_of(root))
    assert TITLE in said
    assert any(word in said for word in ("No ", "no ")), said
    assert all(text.left >= 0 and text.right <= width for text in texts_of(root))


@pytest.mark.parametrize("chart", CHARTS)
def test_a_peer_that_is_not_connected_is_told(chart: str) -> None:
    missing = "The budget service is not connected."
    picture = Picture(chart=chart, rows=[], title=TITLE, currency_code="USD", missing=missing)

    root = parsed(drawing_of(picture, Look()))

    assert missing in [text.text for text in texts_of(root)]


@pytest.mark.parametrize("name", SAMPLES)
def test_names_from_outside_stay_text(name: str) -> None:
    chart, rows = samples([f"{text} {place}" for place, text in enumerate(HOSTILE)])[name]

    svg = drawing_of(picture_of(chart, rows, title=HOSTILE[1]), Look())

    tags = {node.tag.removeprefix(NAMESPACE) for node in parsed(svg).iter()}
    assert tags <= {
        *("svg", "g", "rect", "path", "line", "text", "tspan", "title", "desc"),
        *("defs", "clipPath", "linearGradient", "stop"),
    }
    assert b"<script" not in svg
    assert not any(key.startswith("on") for node in parsed(svg).iter() for key in node.attrib)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_specification_can_stand_in_a_page(name: str) -> None:
    chart, rows = samples([f"{text} {place}" for place, text in enumerate(HOSTILE)])[name]

    text = written(spec_of(picture_of(chart, rows, title=HOSTILE[1]), Look())).decode()

    assert not set("<>&") & set(text)
    spec = json.loads(text)
    assert spec["$schema"].endswith("/vega-lite/v6.json")
    assert list(expressions_with("alert", spec)) == []


def expressions_with(word: str, node: Any, key: str = "") -> Any:
    """Yields the expressions of a specification that hold a word."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name != "values":
                yield from expressions_with(word, value, name)
    elif isinstance(node, list):
        for value in node:
            yield from expressions_with(word, value, key)
    elif key in ("expr", "labelExpr", "test") and word in str(node):
        yield node


@pytest.mark.parametrize("name", SAMPLES)
def test_a_screen_reader_hears_what_it_is(name: str) -> None:
    root = parsed(drawing_of(picture_of(*SAMPLES[name]), Look()))

    assert root.get("role") == "img"
    assert root.findtext(f"{NAMESPACE}title") == TITLE
    assert (
        root.findtext(f"{NAMESPACE}desc") == f"{TITLE}. 1 May to 14 June 2026, billed cost in USD"
    )
    marks = [node.get("aria-label") for node in root.iter() if node.get("aria-label")]
    assert len(marks) >= 1


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_theme_has_its_own_colours_and_nothing_else_changes(name: str, theme: str) -> None:
    spec = spec_of(picture_of(*SAMPLES[name]), Look(theme=theme))

    assert spec["background"] == THEMES[theme].background
    assert spec["width"] == 960
    other = next(THEMES[each] for each in THEMES if each != theme)
    assert other.background not in json.dumps(spec)
    assert other.accent not in json.dumps(spec)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_height_that_is_asked_for_is_the_pictures(name: str) -> None:
    root = parsed(drawing_of(picture_of(*SAMPLES[name]), Look(width=640, height=480)))

    assert (root.get("width"), root.get("height")) == ("640", "480")
    assert all(text.bottom <= 480 for text in texts_of(root))
