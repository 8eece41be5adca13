"""Filters parse to a tree, and every mistake names its place."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import to_status
from services.kernel.filter import (
    And,
    Argument,
    Comparator,
    Expression,
    FilterTooLarge,
    InvalidFilter,
    Not,
    Or,
    Restriction,
    parse_filter,
)
from services.kernel.filter.syntax import DEPTH_MAX, LENGTH_MAX, TERMS_MAX


def equal(field: str, *pieces: str, quoted: bool = False) -> Restriction:
    return Restriction((field,), Comparator.EQUAL, Argument(pieces, is_quoted=quoted))


A, B, C = equal("a", "1"), equal("b", "2"), equal("c", "3")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", And()),
        (" \n ", And()),
        ("a=1", A),
        (" a = 1 ", A),
        ("(a = 1)", A),
        ("a = 1 AND b = 2 AND c = 3", And((A, B, C))),
        ("a = 1 OR b = 2", Or((A, B))),
        ("a = 1 AND b = 2 OR c = 3", And((A, Or((B, C))))),
        ("a = 1 OR b = 2 AND c = 3", And((Or((A, B)), C))),
        ("(a = 1 AND b = 2) OR c = 3", Or((And((A, B)), C))),
        ("NOT a = 1", Not(A)),
        ("-a = 1", Not(A)),
        ("NOT (a = 1 OR b = 2)", Not(Or((A, B)))),
        ("NOT NOT a = 1", Not(Not(A))),
        ("-(a = 1) AND b = 2", And((Not(A), B))),
    ],
)
def test_a_filter_parses_with_the_precedence_of_aip_160(text: str, tree: Expression) -> None:
    assert parse_filter(text) == tree


@pytest.mark.parametrize(
    ("text", "pieces", "quoted"),
    [
        ("a = x", ("x",), False),
        ("a = -5.25", ("-5.25",), False),
        ("a = 2026-01-31T08:00:00.5+01:00", ("2026-01-31T08:00:00.5+01:00",), False),
        ('a = "two words"', ("two words",), True),
        ("a = 'it is \"so\"'", ('it is "so"',), True),
        (r'a = "a \"quote\" and a \\"', ('a "quote" and a \\',), True),
        ("a = x*", ("x", ""), False),
        ('a = "*x*"', ("", "x", ""), True),
        ("a = x**y", ("x", "y"), False),
        ("a = *", ("", ""), False),
        (r"a = x\*", ("x*",), False),
        ('a = "AND"', ("AND",), True),
        ('a = ""', ("",), True),
        ("a = größe/小", ("größe/小",), False),
    ],
)
def test_a_value_keeps_its_text_and_wildcards(
    text: str, pieces: tuple[str, ...], *, quoted: bool
) -> None:
    assert parse_filter(text) == equal("a", *pieces, quoted=quoted)


@pytest.mark.parametrize("comparator", list(Comparator))
def test_every_comparator_parses_with_and_without_blanks(comparator: Comparator) -> None:
    wanted = Restriction(("a",), comparator, Argument(("x",)))

    assert parse_filter(f"a{comparator.value}x") == wanted
    assert parse_filter(f"a {comparator.value} x") == wanted


@pytest.mark.parametrize(
    ("text", "path", "key"),
    [
        ("tags.env = x", ("tags", "env"), "env"),
        ("tags.app.kubernetes.io/name = x", ("tags", "app", "kubernetes", "io/name"), None),
        ('tags."cost centre" = x', ("tags", "cost centre"), "cost centre"),
        ("tags.cost-centre = x", ("tags", "cost-centre"), "cost-centre"),
    ],
)
def test_a_path_names_a_key_inside_a_field(
    text: str, path: tuple[str, ...], key: str | None
) -> None:
    parsed = parse_filter(text)

    assert isinstance(parsed, Restriction)
    assert parsed.path == path
    assert parsed.key == (key or "app.kubernetes.io/name")


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("a", 2, "expected one of = != < <= > >= : after a, found the end"),
        ("a =", 4, "expected a value, found the end"),
        ("= 1", 1, "expected a field, found '= 1'"),
        ("a = 1 b = 2", 7, "expected AND, OR or the end, found 'b = 2'"),
        ("a = 1 and b = 2", 7, "AND is written in upper case"),
        ("(a = 1", 7, "expected AND, OR or a closing parenthesis, found the end"),
        ("a = 1)", 6, "expected AND, OR or the end, found ')'"),
        ("a = 1 AND", 10, "expected a field, found the end"),
        ("a = 1 AND OR b = 1", 11, "expected a field"),
        ("a = AND b = 1", 5, "a value is missing before AND"),
        ('a = "open', 5, "the quote is not closed"),
        ("a. = 1", 3, "expected a key after the dot"),
        ("a == 1", 4, "expected a value"),
        ("a = 1; DROP TABLE event", 8, "expected AND, OR or the end"),
        ("a = \0", 5, "the character zero is not text"),
        ("NOT", 4, "expected a field, found the end"),
        ("()", 2, "expected a field"),
    ],
)
def test_a_mistake_names_its_position(text: str, position: int, problem: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(text)

    assert caught.value.reason == "INVALID_FILTER"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {"position": str(position)}
    assert problem in caught.value.message
    assert caught.value.message.startswith(f"filter, character {position}: ")


def test_a_mistake_is_a_violation_of_the_field_filter() -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter("a")

    types = [detail.type_url.rpartition(".")[2] for detail in to_status(caught.value).details]
    assert types == ["ErrorInfo", "BadRequest"]
    assert b"filter" in to_status(caught.value).details[1].value


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "x" * LENGTH_MAX,
        "(" * (DEPTH_MAX + 1) + "a = 1" + ")" * (DEPTH_MAX + 1),
        "NOT " * (DEPTH_MAX + 1) + "a = 1",
        " AND ".join(["a = 1"] * (TERMS_MAX + 1)),
    ],
    ids=["length", "parentheses", "negations", "terms"],
)
def test_a_filter_beyond_a_bound_is_refused(text: str) -> None:
    with pytest.raises(FilterTooLarge) as caught:
        parse_filter(text)

    assert caught.value.reason == "FILTER_TOO_LARGE"
    assert int(caught.value.metadata["position"]) > 0


def test_a_filter_at_its_bounds_is_taken() -> None:
    deep = "(" * DEPTH_MAX + "a = 1" + ")" * DEPTH_MAX
    wide = " AND ".join(["a = 1"] * TERMS_MAX)
    long = "a = " + "x" * (LENGTH_MAX - 4)

    assert parse_filter(deep) == A
    assert parse_filter(wide) == And((A,) * TERMS_MAX)
    assert parse_filter(long) == equal("a", "x" * (LENGTH_MAX - 4))


@given(st.text(alphabet=st.sampled_from("ab.=<>!:()-*\\\"' \tANDORT1é,"), max_size=60))
def test_any_text_parses_or_is_refused_with_a_position(text: str) -> None:
    try:
        tree = parse_filter(text)
    except InvalidFilter as error:
        position = int(error.metadata["position"])
        assert 1 <= position <= len(text) + 1
    else:
        assert isinstance(tree, Restriction | Not | And | Or)
