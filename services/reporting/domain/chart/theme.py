"""Colours of pictures, light and dark, told apart with any kind of colour vision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Contrast that text needs against what is behind it. Source: WCAG 2.2, 1.4.3.
CONTRAST: Final = 4.5
_LINEAR_TO: Final = 0.04045


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one look.

    series: of groups, each told from its neighbours without red or green. rest: of what is summed
    up as other. ramp: from nothing to much.
    """

    name: str
    background: str
    text: str
    muted: str
    grid: str
    track: str
    accent: str
    rest: str
    good: str
    warning: str
    bad: str
    series: tuple[str, ...]
    ramp: tuple[str, ...]


# Source of the hues: Okabe and Ito, Color Universal Design, 2008; ordered so that neighbours also
# differ in lightness.
LIGHT: Final = Theme(
    name="light",
    background="#ffffff",
    text="#1c2330",
    muted="#566073",
    grid="#e6e9ef",
    track="#e6e9ef",
    accent="#0068a8",
    rest="#aeb6c3",
    good="#0a7d5c",
    warning="#e69f00",
    bad="#c44a00",
    series=("#0068a8", "#e69f00", "#0a7d5c", "#c4559a", "#56b4e9", "#a33c00", "#333b4a"),
    ramp=("#eef4fa", "#bcd7ec", "#7fb3d9", "#3f87bf", "#0a5a97", "#06365e"),
)
DARK: Final = Theme(
    name="dark",
    background="#12161f",
    text="#e8ebf1",
    muted="#a2abbb",
    grid="#272e3b",
    track="#2a3240",
    accent="#5cb3ec",
    rest="#717b8c",
    good="#2fb78c",
    warning="#f0b323",
    bad="#f07f3c",
    series=("#5cb3ec", "#f0b323", "#1f9e78", "#e59ac4", "#3d7fc4", "#f0733c", "#e8df6a"),
    ramp=("#1b2432", "#173f63", "#1c6396", "#3f8fc6", "#7fbfe8", "#d3ecfb"),
)
THEMES: Final = {theme.name: theme for theme in (LIGHT, DARK)}


def channels(colour: str) -> tuple[float, float, float]:
    """Returns the light of a colour such as `#0068a8`, red, green and blue, each in [0, 1].

    Source: IEC 61966-2-1 (sRGB).
    """
    red, green, blue = (_light(int(colour[place : place + 2], 16) / 255) for place in (1, 3, 5))
    return red, green, blue


def _light(value: float) -> float:
    return value / 12.92 if value <= _LINEAR_TO else ((value + 0.055) / 1.055) ** 2.4


def contrast(one: str, other: str) -> float:
    """Returns the contrast of two colours, 1 to 21. Source: WCAG 2.2."""
    dark, light = sorted(_luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def text_on(fill: str) -> str:
    """Returns the colour of text that is read best on a fill."""
    return max(("#000000", "#ffffff"), key=lambda colour: contrast(colour, fill))


def _luminance(colour: str) -> float:
    red, green, blue = channels(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
