"""Charts are drawn in a process of their own, which may die."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from services.reporting.errors import ChartNotFound
from services.reporting.service.chart_drawing import PNG, SVG, Drawing
from services.reporting.service.charts import Charts, Picture


async def test_others_are_served_while_a_picture_is_drawn() -> None:
    drawing = Drawing()
    charts = Charts(drawing)
    picture = Picture("cost-breakdown", [], "Nothing", "USD")
    await charts.render(picture)
    longest = 0.0

    tasks = [asyncio.create_task(charts.render(picture, form)) for form in (SVG, PNG) * 10]
    loop = asyncio.get_running_loop()
    while not all(task.done() for task in tasks):
        before = loop.time()
        await asyncio.sleep(0)
        longest = max(longest, loop.time() - before)

    assert {(await task)[:4] for task in tasks} == {b"<svg", b"\x89PNG"}
    # A picture takes some 20 ms; all of them would take half a second.
    assert longest < 0.25
    await drawing.close()


async def test_a_process_that_died_is_replaced() -> None:
    drawing = Drawing()
    charts = Charts(drawing)
    picture = Picture("cost-breakdown", [], "Nothing", "USD")
    before = await charts.render(picture)
    (process,) = drawing.processes
    os.kill(process, signal.SIGKILL)

    after = await charts.render(picture)

    assert after == before
    assert drawing.processes != [process]
    await drawing.close()


async def test_a_chart_that_is_not_declared_is_not_drawn() -> None:
    with pytest.raises(ChartNotFound):
        await Charts(Drawing()).render(Picture("pie", [], "Pie", "USD"))
