"""Validation rules of contracts as JSON Schema keywords.

Covers what JSON Schema can say of buf.validate's rules; CEL expressions stay with the service.
Strings of digits stand beside numbers because ProtoJSON reads both.
"""

from __future__ import annotations

import re
from typing import Any, Final

from protobuf import ScalarType

Schema = dict[str, Any]

INTEGER_BOUNDS: Final[dict[ScalarType, tuple[int, int]]] = {
    ScalarType.INT32: (-(2**31), 2**31 - 1),
    ScalarType.SINT32: (-(2**31), 2**31 - 1),
    ScalarType.SFIXED32: (-(2**31), 2**31 - 1),
    ScalarType.UINT32: (0, 2**32 - 1),
    ScalarType.FIXED32: (0, 2**32 - 1),
    ScalarType.INT64: (-(2**63), 2**63 - 1),
    ScalarType.SINT64: (-(2**63), 2**63 - 1),
    ScalarType.SFIXED64: (-(2**63), 2**63 - 1),
    ScalarType.UINT64: (0, 2**64 - 1),
    ScalarType.FIXED64: (0, 2**64 - 1),
}
WIDE_INTEGERS: Final = frozenset(
    scalar for scalar, (_, high) in INTEGER_BOUNDS.items() if high >= 2**32
)
FLOAT_BOUNDS: Final = {
    ScalarType.FLOAT: 3.4028234663852886e38,
    ScalarType.DOUBLE: 1.7976931348623157e308,
}

_FORMATS: Final = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uri_ref": "uri-reference",
    "uuid": "uuid",
}
_MONTHS_DAYS_TIME: Final = (
    r"-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])$"
)
_SECONDS_A_YEAR: Final = 31_556_952
_EPOCH_YEAR: Final = 1970
_FIRST_YEAR, _LAST_YEAR = 1000, 9999  # four digits, as RFC 3339 writes them


def string_schema(rules: Any) -> Schema:
    """Returns the schema of a string under its StringRules; lengths are in characters."""
    schema: Schema = {"type": "string"}
    if rules is None:
        return schema
    if rules.has_field("const"):
        return {"type": "string", "const": rules.const}
    if getattr(rules, "in_", None):
        return {"type": "string", "enum": list(rules.in_)}
    for name, keywords in (
        ("len", ("minLength", "maxLength")),
        ("min_len", ("minLength",)),
        ("max_len", ("maxLength",)),
    ):
        if rules.has_field(name):
            schema.update(dict.fromkeys(keywords, getattr(rules, name)))
    patterns = [
        *([rules.pattern] if rules.has_field("pattern") else []),
        *([f"^{re.escape(rules.prefix)}"] if rules.has_field("prefix") else []),
        *([f"{re.escape(rules.suffix)}$"] if rules.has_field("suffix") else []),
        *([re.escape(rules.contains)] if rules.has_field("contains") else []),
    ]
    if patterns:
        schema["pattern"] = patterns[0]
    if patterns[1:]:
        schema["allOf"] = [{"pattern": pattern} for pattern in patterns[1:]]
    if getattr(rules, "not_in", None):
        schema["not"] = {"enum": list(rules.not_in)}
    known = rules.well_known
    if known is not None and known.field in _FORMATS and known.value:
        schema["format"] = _FORMATS[known.field]
    return schema


def integer_schema(scalar: ScalarType, rules: Any, *, is_text: bool) -> Schema:
    """Returns the schema of an integer under its rules; `is_text` where it travels in a URL."""
    low, high = _integer_range(scalar, rules)
    schema: Schema = {"type": "integer", "minimum": low, "maximum": high}
    schema["format"] = "int64" if scalar in WIDE_INTEGERS else "int32"
    _choices(schema, rules)
    if is_text or "enum" in schema:
        return schema
    digits = _digits_pattern(low, high)
    if digits is not None:
        wide = scalar in WIDE_INTEGERS
        schema["type"] = ["string", "integer"] if wide else ["integer", "string"]
        schema["pattern"] = digits
    return schema


def number_schema(scalar: ScalarType, rules: Any, *, is_text: bool) -> Schema:
    """Returns the schema of a floating-point number under its rules."""
    bound = FLOAT_BOUNDS[scalar]
    schema: Schema = {"type": "number", "format": scalar.name.lower()}
    low, high = -bound, bound
    if rules is not None:
        greater, less = rules.greater_than, rules.less_than
        if greater is not None:
            low = greater.value
            schema["minimum" if greater.field == "gte" else "exclusiveMinimum"] = low
        if less is not None:
            high = less.value
            schema["maximum" if less.field == "lte" else "exclusiveMaximum"] = high
    schema.setdefault("minimum", low) if "exclusiveMinimum" not in schema else None
    schema.setdefault("maximum", high) if "exclusiveMaximum" not in schema else None
    _choices(schema, rules)
    if is_text or "enum" in schema:
        return schema
    digits = _digits_pattern(int(max(low, -1e15)), int(min(high, 1e15)))
    if digits is not None:
        schema["type"] = ["number", "string"]
        schema["pattern"] = digits
    return schema


def timestamp_schema(rules: Any) -> Schema:
    """Returns the schema of a Timestamp; a range becomes the whole years that lie inside it."""
    first, last = _FIRST_YEAR, _LAST_YEAR
    if rules is not None:
        greater, less = rules.greater_than, rules.less_than
        if greater is not None and greater.field in ("gt", "gte"):
            first = max(first, _year(greater.value.seconds) + 1)
        if less is not None and less.field in ("lt", "lte"):
            last = min(last, _year(less.value.seconds) - 1)
    return {
        "type": "string",
        "format": "date-time",
        "pattern": f"^({years_pattern(first, last)}){_MONTHS_DAYS_TIME}",
    }


def years_pattern(first: int, last: int) -> str:
    """Returns a pattern that matches exactly the four-digit years from `first` up to `last`."""
    return _range_pattern(f"{first:04d}", f"{last:04d}")


def list_keywords(rules: Any) -> Schema:
    """Returns the keywords of a list under its RepeatedRules."""
    names = (("min_items", "minItems"), ("max_items", "maxItems"))
    schema = {keyword: getattr(rules, name) for name, keyword in names if rules.has_field(name)}
    if rules.unique:
        schema["uniqueItems"] = True
    return schema


def map_keywords(rules: Any) -> Schema:
    """Returns the keywords of a map under its MapRules, those of its keys included."""
    names = (("min_pairs", "minProperties"), ("max_pairs", "maxProperties"))
    schema: Schema = {
        keyword: getattr(rules, name) for name, keyword in names if rules.has_field(name)
    }
    keys = typed_rules(rules.keys, "string")
    if keys is not None:
        found = string_schema(keys)
        schema["propertyNames"] = {key: value for key, value in found.items() if key != "type"}
    return schema


def key_keywords(scalar: ScalarType) -> Schema:
    """Returns what the keys of a map look like where they are not free text."""
    if scalar is ScalarType.BOOL:
        return {"propertyNames": {"enum": ["true", "false"]}}
    if scalar in INTEGER_BOUNDS:
        return {"propertyNames": {"pattern": _digits_pattern(*INTEGER_BOUNDS[scalar])}}
    return {}


def typed_rules(rules: Any, kind: str) -> Any:
    """Returns the rules of one kind within FieldRules; None where there are none that apply."""
    if rules is None or rules.type is None or rules.type.field != kind:
        return None
    return None if is_ignored(rules) else rules.type.value


def is_ignored(rules: Any) -> bool:
    """Tells whether FieldRules are switched off."""
    name: str = rules.ignore.name
    return name == "ALWAYS"


def _integer_range(scalar: ScalarType, rules: Any) -> tuple[int, int]:
    low, high = INTEGER_BOUNDS[scalar]
    if rules is None:
        return low, high
    greater, less = rules.greater_than, rules.less_than
    if greater is not None:
        low = max(low, greater.value + (greater.field == "gt"))
    if less is not None:
        high = min(high, less.value - (less.field == "lt"))
    return low, high


def _choices(schema: Schema, rules: Any) -> None:
    if rules is None:
        return
    if rules.has_field("const"):
        schema["enum"] = [rules.const]
    elif getattr(rules, "in_", None):
        schema["enum"] = list(rules.in_)
    elif getattr(rules, "not_in", None):
        schema["not"] = {"enum": list(rules.not_in)}


def _digits_pattern(low: int, high: int) -> str | None:
    """Returns a pattern whose every match is a whole number in the range; None where none fits."""
    digits = len(str(high + 1)) - 1 if high >= 0 else 0
    if low > 1:
        return None
    if digits < 1:
        return "^0$" if low <= 0 <= high else None
    if low == 1:
        return f"^[1-9][0-9]{{0,{digits - 1}}}$"
    sign = "-?" if low <= 1 - 10**digits else ""
    return f"^{sign}[0-9]{{1,{digits}}}$"


def _year(seconds: int) -> int:
    return _EPOCH_YEAR + seconds // _SECONDS_A_YEAR


def _range_pattern(low: str, high: str) -> str:
    """Returns a pattern for the decimal texts of one length from `low` up to `high`."""
    if not low:
        return ""
    if set(low[1:]) <= {"0"} and set(high[1:]) <= {"9"}:
        return f"[{low[0]}-{high[0]}]" + "[0-9]" * (len(low) - 1)
    if low[0] == high[0]:
        return low[0] + _range_pattern(low[1:], high[1:])
    rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    parts = [low[0] + _range_pattern(low[1:], "9" * rest)]
    if last - first > 1:
        parts.append(f"[{first + 1}-{last - 1}]" + "[0-9]" * rest)
    parts.append(high[0] + _range_pattern("0" * rest, high[1:]))
    return f"(?:{'|'.join(parts)})"
