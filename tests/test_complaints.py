"""Each complaint about budgets that users of other tools made is named by a test.

A test names it by where it was made, at the beginning of a line of its docstring:
`owner/repository#number, #number: what went wrong there`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
_NAMED = re.compile(r"([\w.-]+/[\w.-]+)((?:(?:, )?#\d+)+| discussion \d+)")
_NUMBERS = re.compile(r"#\d+| discussion \d+")

# What went wrong, and where it was told.
COMPLAINTS = {
    "Concurrent requests pass a limit that is checked before and counted after": (
        "BerriAI/litellm#34732",
    ),
    "Concurrent first requests of an unknown user pass the default budget by": (
        "BerriAI/litellm#40095",
    ),
    "Requests keep passing after the budget is spent": ("BerriAI/litellm#26672, #23714, #11083",),
    "Nothing is reserved where the cost cannot be estimated": ("BerriAI/litellm#35524",),
    "A reservation that failed lets the request pass": ("BerriAI/litellm#33923",),
    "Worst cases fill the counter while nothing was spent": ("BerriAI/litellm#38647",),
    "A call without a bound reserves all that is left": ("BerriAI/litellm#27509",),
    "Refused without a budget, or by a typing error that only SQL repairs": (
        "BerriAI/litellm#20615, #22726",
    ),
    "Spend is lost in outages and in calls beyond their size": (
        "BerriAI/litellm discussion 50438",
    ),
    "Two ledgers disagree, and nothing compares them": ("BerriAI/litellm#37144",),
    "Spend is missing beside the provider's bill": ("BerriAI/litellm#13280",),
    "A client that hangs up loses usage that is billed": (
        "BerriAI/litellm#14457, #13245, #33736, #37558",
    ),
    "An empty request id is a key, and only the first call is kept": ("BerriAI/litellm#6633",),
    "A stale price map makes every budget wrong": ("BerriAI/litellm#38730",),
    "Past cost is not repriced in sight of all; the date of a price is ignored": (
        "BerriAI/litellm#31835",
        "langfuse/langfuse#12184",
        "langfuse/langfuse-docs#2018",
    ),
    "Cached tokens have the wrong price": ("langfuse/langfuse#4590, #14249, #7478",),
    "Cost is far from the bill, or clamped": ("opencost/opencost#2162, #2172, #3894, #3393",),
    "An event that is retried is metered zero times": ("openmeterio/openmeter#5118",),
    "Duplicates are billed, or the key of a duplicate is too short": (
        "getlago/lago-api#4725, #4744, #5416, #5359, #5327",
    ),
    "An id alone is taken for an identity": ("getlago/lago-api#4163, #4260, #4586, #6209",),
    "A retry bills twice, or its refusal stops everything": (
        "langfuse/langfuse#15917, #16292",
        "diggerhq/opencomputer#276",
    ),
    "Usage at the edge of a period, or without a time, is missed or misplaced": (
        "authgear/authgear-server#2168",
        "killbill/killbill#876",
        "tuist/tuist#11903",
    ),
    "Budgets are reset late by the offset of their zone": (
        "BerriAI/litellm#34896, #38938, #40978",
    ),
    "Resets come at odd hours, on a fixed weekday, or never": (
        "BerriAI/litellm#10288, #33161, #24675, #5651",
    ),
    "The zone of the customer makes two bills": (
        "getlago/lago#61, #146",
        "getlago/lago-api#879",
    ),
    "A clock change moves usage; the 31st comes a day early": (
        "killbill/killbill#1934, #445, #2133",
    ),
    "A change at the reset, or within a period, counts a grant twice": (
        "openmeterio/openmeter#1408, #4252",
    ),
    "An alert comes with every request": ("BerriAI/litellm#3738, #3113, #1612, #32597",),
    "Thresholds never fire; quotas and webhooks are missing": ("openmeterio/openmeter#3200, #94",),
    "Alerts come in the first period only, or twice": (
        "twentyhq/twenty#16801",
        "flexprice/flexprice#2155",
    ),
    "There are no cost alerts that reach somebody": (
        "opencost/opencost#737, #3867",
        "langfuse/langfuse#714",
    ),
    "Budgets lag hours, and nothing guards what is to come": (
        "Cyclenerd/poweroff-google-cloud-cap-billing#9",
        "aws-solutions/innovation-sandbox-on-aws#168",
        "cloud-custodian/cloud-custodian#5324",
    ),
    "Budgets are in dollars only": ("BerriAI/litellm#13399",),
}


def references(text: str) -> list[str]:
    """Returns each place that a text names, as `owner/repository#number`."""
    return [
        repository + number
        for repository, numbers in _NAMED.findall(text)
        for number in _NUMBERS.findall(numbers)
    ]


@cache
def named() -> dict[str, list[str]]:
    """Returns the tests that name each place."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(ROOT.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if path == Path(__file__) or not _NAMED.search(text):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("test_"):
                for place in references(ast.get_docstring(node) or ""):
                    found[place].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_a_complaint_is_named_by_a_test_wherever_it_was_made(complaint: str) -> None:
    places = references(" ".join(COMPLAINTS[complaint]))

    assert places
    assert [place for place in places if not named().get(place)] == []


def test_no_test_of_budgets_names_a_place_that_is_not_listed() -> None:
    known = {place for texts in COMPLAINTS.values() for place in references(" ".join(texts))}

    here = {place for place, tests in named().items() if any("budget/" in each for each in tests)}

    assert here
    assert here - known == set()
