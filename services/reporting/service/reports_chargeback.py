"""The chargeback report: what each department owes."""

from __future__ import annotations

from typing import Final

from services.reporting.domain.figures import costs_link
from services.reporting.domain.report.chargeback import detail_table, owed_table
from services.reporting.domain.report.document import Form, Number, Section, Tile
from services.reporting.domain.report.frame import share
from services.reporting.service.reports_sources import Sources

GROUP_BY: Final = ("department",)
DETAIL: Final = "service"


async def owed(sources: Sources) -> Section:
    """Returns what every group owes."""
    frame, words = sources.frame, sources.frame.words
    group_by = frame.group_by or GROUP_BY
    own = await sources.costs(frame.question(*group_by))
    borne = await sources.costs(frame.question(*group_by, is_allocated=True))
    total = own.total(frame.currency_code)
    nobody = sum((row.cost for row in borne.rows if not any(row.group)), start=total.cost * 0)
    query = costs_link(frame.question(*group_by, is_allocated=True))
    tiles = [Tile(words.word("Cost"), frame.money(total.cost, costs_link(frame.question())))]
    label = words.word("Borne by nobody")
    part = Number(share(nobody, total.cost), Form.RATIO, "", query, label)
    tiles.append(
        Tile(label, frame.money(nobody, query), words.say("{part} of all cost", part=part))
    )
    texts = (
        words.say(
            "Own cost is what a group caused. Allocation rules move shared cost to those who "
            "use it; nothing is lost or added, so both columns have one sum."
        ),
    )
    return Section(
        "chargeback",
        words.word("Chargeback"),
        texts,
        tiles=tuple(tiles),
        tables=(owed_table(frame, group_by, own, borne),),
    )


async def details(sources: Sources) -> Section:
    """Returns what the cost of each group is for."""
    frame = sources.frame
    group_by = tuple(name for name in frame.group_by or GROUP_BY if name != DETAIL)
    question = frame.question(*(group_by or GROUP_BY), DETAIL, is_allocated=True)
    answer = await sources.costs(question)
    title = frame.words.word("Details")
    return Section("details", title, tables=(detail_table(frame, question, answer),))
