"""Draws specifications in a process of its own.

The library holds Python's lock while it draws, tens of milliseconds a picture, in which a thread
beside it would serve nobody.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final

VERSION: Final = "6.4"  # of Vega-Lite
# A picture takes less than a tenth of a second; the first one of a process starts the engine.
DRAW_SECONDS: Final = 20.0
# After so many pictures a process is replaced: what an engine leaks, it leaks no longer.
PICTURES_MAX: Final = 2_000
SVG: Final = "svg"
PNG: Final = "png"


def drawn(spec: str, form: str) -> bytes:
    """Returns the picture of a specification. form: `svg` or `png`. Reads nothing from outside."""
    # Only the process that draws needs it, and the service is 8 MB smaller.
    import vl_convert  # noqa: PLC0415 - as said

    nowhere: list[str] = []
    if form == PNG:
        png: bytes = vl_convert.vegalite_to_png(spec, vl_version=VERSION, allowed_base_urls=nowhere)
        return png
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=VERSION, allowed_base_urls=nowhere)
    return svg.encode()


def _begin() -> None:
    """Leaves Ctrl-C to the parent, and ends when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(0)


class Drawing:
    """A process that draws, begun with the first picture."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._lock = threading.Lock()
        self._process: ProcessPoolExecutor | None = None

    @property
    def processes(self) -> list[int]:
        """Ids of the processes that draw now: one, or none yet."""
        if self._process is None:
            return []
        return list(self._process._processes)  # noqa: SLF001 - there is no other way to know

    def draw(self, spec: dict[str, Any], form: str) -> bytes:
        """Returns a picture; blocks its thread. Raises TimeoutError, BrokenProcessPool."""
        try:
            return self._submit(spec, form).result(DRAW_SECONDS)
        except BrokenProcessPool:
            self.end()
            return self._submit(spec, form).result(DRAW_SECONDS)

    async def render(self, spec: dict[str, Any], form: str) -> bytes:
        """Returns a picture; meanwhile others are served."""
        return await asyncio.to_thread(self.draw, spec, form)

    async def close(self) -> None:
        """Ends the process when the service ends."""
        await asyncio.to_thread(self.end)

    def end(self) -> None:
        """Ends the process; the next picture begins another."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.shutdown(wait=False, cancel_futures=True)

    def _submit(self, spec: dict[str, Any], form: str) -> Future[bytes]:
        with self._lock:
            if self._process is None:
                self._process = ProcessPoolExecutor(
                    max_workers=1,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_begin,
                    max_tasks_per_child=PICTURES_MAX,
                )
            return self._process.submit(drawn, json.dumps(spec), form)
