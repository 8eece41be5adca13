"""Draws the first page of each kind of report: `python -m tools.report_pictures [DATA_DIR]`.

Reads from a running demo, as `finops up --demo` starts it, and writes docs/reports/*.png.
DATA_DIR: of its stack, default the user's own. A module of its own, because the process that draws
charts loads again whatever its parent's main module loads, but never a `__main__`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cli.options import DEFAULT_DATA_DIR
from tools.report_pictures.drawing import draw_all

if __name__ == "__main__":
    asyncio.run(draw_all(Path(sys.argv[1]) if sys.argv[1:] else DEFAULT_DATA_DIR))
