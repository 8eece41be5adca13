"""Colours are told apart by everybody, and text is read on them."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest

from services.reporting.domain.chart.theme import CONTRAST, THEMES, Theme, contrast, text_on
from tests.reporting.domain.chart.colour_vision import SEEN_BY, distance

# About 2.3 is just noticeable side by side; neighbours of a stack are clear, others still distinct.
NEIGHBOURS_MIN = 18
ANY_MIN = 10


@pytest.fixture(params=THEMES.values(), ids=list(THEMES))
def theme(request: pytest.FixtureRequest) -> Theme:
    """Each theme."""
    found: Theme = request.param
    return found


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_neighbours_are_told_apart_with_any_colour_vision(theme: Theme, seen_by: str) -> None:
    for one, other in pairwise([*theme.series, theme.rest]):
        assert distance(one, other, seen_by=seen_by) >= NEIGHBOURS_MIN, (one, other)


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_any_two_groups_are_told_apart(theme: Theme, seen_by: str) -> None:
    for one, other in combinations([*theme.series, theme.rest], 2):
        assert distance(one, other, seen_by=seen_by) >= ANY_MIN, (one, other)


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_severities_are_told_apart(theme: Theme, seen_by: str) -> None:
    for one, other in combinations([theme.bad, theme.warning, theme.accent], 2):
        assert distance(one, other, seen_by=seen_by) >= NEIGHBOURS_MIN, (one, other)


def test_the_measure_knows_red_from_green_and_who_does_not() -> None:
    assert distance("#c00000", "#008000", seen_by="everybody") > 100
    assert distance("#b8a50a", "#e69f00", seen_by="protanopia") < 3


def test_text_is_read_on_what_is_behind_it(theme: Theme) -> None:
    for colour in (theme.text, theme.muted):
        assert contrast(colour, theme.background) >= CONTRAST
    for fill in (*theme.series, theme.rest, theme.accent, theme.bad):
        assert contrast(text_on(fill), fill) >= CONTRAST


def test_the_ramp_goes_one_way(theme: Theme) -> None:
    steps = [contrast(colour, theme.background) for colour in theme.ramp]

    assert steps == sorted(steps)


def test_contrast_is_that_of_the_guideline() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
