"""How colours look to people who see without red or green, and how far apart they are."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.chart.theme import channels

# In linear light, of full severity.
# Source: Machado, Oliveira, Fernandes, A Physiologically-based Model for Simulation of Color Vision
# Deficiency, 2009.
SEEN_BY: Final = {
    "everybody": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# From linear sRGB to XYZ under D65, over its white. Source: IEC 61966-2-1.
_XYZ: Final = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE: Final = np.array([0.95047, 1.0, 1.08883])


def distance(one: str, other: str, *, seen_by: str) -> float:
    """Returns the distance of two colours in CIELAB; about 2.3 is just noticeable."""
    return math.dist(_lab(one, SEEN_BY[seen_by]), _lab(other, SEEN_BY[seen_by]))


def _lab(colour: str, seen: NDArray[np.float64]) -> tuple[float, float, float]:
    light = np.clip(seen @ np.array(channels(colour)), 0, 1)
    ratio = (_XYZ @ light) / _WHITE
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (ratio * 24389 / 27 + 16) / 116)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)
