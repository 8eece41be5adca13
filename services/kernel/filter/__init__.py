r"""Filters and orders of list requests: parsed once, run as SQL or over values in Python.

The language is a subset of AIP-160:

    department = "research" AND tags.env = "prod" OR tags.env = "test"
    NOT user_id = "ada" AND amount >= 12.50 AND create_time < 2026-01-01
    resource_id = "gpt-*" AND tags:team AND -(status = FAILED)

* `=` `!=` `<` `<=` `>` `>=` compare; `*` in a text stands for any characters, `\*` for itself.
* `:` means "has": a text contains another, a set contains an element, labels contain a key;
  `field:*` holds where the field is set. A service may give it a meaning of its own, for example
  that `department:eng` takes the departments below.
* OR binds tighter than AND, as AIP-160 has it: `a AND b OR c` is `a AND (b OR c)`.
* Truth is two-valued. A field that is not set equals only `""`, is neither below nor above any
  value, and `!=` and NOT hold where `=` does not: `tags.env != "prod"` takes what has no such tag.
* Times are RFC 3339, or dates, which stand for the first instant of that day in the zone given.

Source: https://google.aip.dev/160 and https://google.aip.dev/132#ordering.
"""

from __future__ import annotations

from services.kernel.filter.errors import (
    FilterTooLarge,
    FilterValueInvalid,
    InvalidFilter,
    InvalidOrder,
    OperatorNotSupported,
    UnknownFilterField,
)
from services.kernel.filter.evaluation import evaluate
from services.kernel.filter.order import OrderTerm, parse_order
from services.kernel.filter.sql import FilterField, compile_expression, compile_filter
from services.kernel.filter.syntax import (
    And,
    Argument,
    Comparator,
    Expression,
    Not,
    Or,
    Restriction,
    parse_filter,
)
from services.kernel.filter.value import FieldType, FilterValue, Pattern

__all__ = [
    "And",
    "Argument",
    "Comparator",
    "Expression",
    "FieldType",
    "FilterField",
    "FilterTooLarge",
    "FilterValue",
    "FilterValueInvalid",
    "InvalidFilter",
    "InvalidOrder",
    "Not",
    "OperatorNotSupported",
    "Or",
    "OrderTerm",
    "Pattern",
    "Restriction",
    "UnknownFilterField",
    "compile_expression",
    "compile_filter",
    "evaluate",
    "parse_filter",
    "parse_order",
]
