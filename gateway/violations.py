"""Naming the fields that make a JSON value unreadable.

The codec stops at the first error and often names only a type. This runs after it has failed, so
its cost is paid by wrong requests alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import ItemsView, Iterator
from itertools import chain, islice
from typing import Any

from protobuf import (
    DescField,
    DescFieldValueList,
    DescFieldValueMap,
    DescMessage,
    DescOneof,
    Registry,
    message_from_json_value,
)

from gateway.fields import element_of, fields_by_name, is_special, oneof_of

VIOLATIONS_MAX = 20
_TEXT_MAX = 200

_CODEC_ERRORS = (ValueError, TypeError, OverflowError, RecursionError)
_SUFFIX = re.compile(r" for (?:field|extension) [\w.]+$")
_CLASSES = {
    "<class 'str'>": "a string",
    "<class 'int'>": "a number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "a boolean",
    "<class 'dict'>": "an object",
    "<class 'list'>": "an array",
    "<class 'NoneType'>": "null",
}


def find_violations(message: DescMessage, value: Any, registry: Registry) -> list[tuple[str, str]]:
    """Returns (field path, what is wrong) of at most `VIOLATIONS_MAX` fields of parsed JSON.

    Paths are spelled in proto names, with `[index]` for elements. Empty where nothing is wrong.
    """
    found = _find(message, value, "", registry)
    return list(islice(chain(found, _conflicts(message, value, "")), VIOLATIONS_MAX))


def find_conflicts(message: DescMessage, value: Any) -> list[tuple[str, str]]:
    """Returns (field path, what is wrong) where two members of a oneof are given."""
    return list(islice(_conflicts(message, value, ""), VIOLATIONS_MAX))


def readable(error: BaseException) -> str:
    """Returns the codec's message without the names of Python types and of the field."""
    text = _SUFFIX.sub("", str(error))
    for name, word in _CLASSES.items():
        text = text.replace(name, word)
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}..."


def _find(
    message: DescMessage, value: Any, path: str, registry: Registry
) -> Iterator[tuple[str, str]]:
    if is_special(message) or not isinstance(value, dict):
        yield from _try(message, value, path, registry)
        return
    known = fields_by_name(message)
    for name, member in value.items():
        field = known.get(name)
        if field is None:
            yield _join(path, name), "there is no such field"
        elif member is not None:
            yield from _find_in_field(message, field, member, path, registry)


def _find_in_field(
    message: DescMessage, field: DescField, value: Any, path: str, registry: Registry
) -> Iterator[tuple[str, str]]:
    inside = element_of(field)
    here = _join(path, field.name)
    if isinstance(field.value, DescFieldValueList) and isinstance(value, list):
        for index, element in enumerate(value):
            place = f"{here}[{index}]"
            if isinstance(inside, DescMessage) and element is not None:
                yield from _find(inside, element, place, registry)
            else:
                yield from _try(message, {field.name: [element]}, place, registry)
    elif isinstance(field.value, DescFieldValueMap) and isinstance(value, dict):
        for key, element in value.items():
            place = f'{here}["{key[:64]}"]'
            if isinstance(inside, DescMessage) and element is not None:
                yield from _find(inside, element, place, registry)
            else:
                yield from _try(message, {field.name: {key: element}}, place, registry)
    elif isinstance(inside, DescMessage) and not isinstance(
        field.value, DescFieldValueList | DescFieldValueMap
    ):
        yield from _find(inside, value, here, registry)
    else:
        yield from _try(message, {field.name: value}, here, registry)


def _conflicts(message: DescMessage, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if is_special(message) or not isinstance(value, dict):
        return
    known = fields_by_name(message)
    chosen: dict[DescOneof, str] = {}
    for name, member in value.items():
        field = known.get(name)
        if field is None or member is None:
            continue
        here = _join(path, field.name)
        oneof = oneof_of(field)
        if oneof is not None and chosen.setdefault(oneof, field.name) != field.name:
            yield here, f"it excludes {chosen[oneof]}; give one of them"
        inside = element_of(field)
        if isinstance(inside, DescMessage):
            is_map = isinstance(field.value, DescFieldValueMap) and isinstance(member, dict)
            yield from _conflicts_inside(inside, member.items() if is_map else member, here)


def _conflicts_inside(message: DescMessage, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list | ItemsView):
        entries = enumerate(value) if isinstance(value, list) else value
        for key, element in entries:
            yield from _conflicts(message, element, f"{path}[{json.dumps(key)[:64]}]")
    else:
        yield from _conflicts(message, value, path)


def _try(
    message: DescMessage, value: Any, path: str, registry: Registry
) -> Iterator[tuple[str, str]]:
    try:
        message_from_json_value(message.type, value, registry=registry).to_binary()
    except _CODEC_ERRORS as error:
        yield path, readable(error)


def _join(path: str, name: str) -> str:
    short = name[:64]
    return f"{path}.{short}" if path else short
