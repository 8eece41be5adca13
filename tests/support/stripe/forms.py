"""Stripe's form bodies as nested values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

_PART = re.compile(r"[^\[\]]+|(?<=\[)(?=\])")


def parsed(text: str) -> dict[str, Any]:
    """Returns `a[b][0][c]=d` as `{"a": {"b": [{"c": "d"}]}}`; the leaves stay text."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        parts = _PART.findall(name)
        holder = root
        for part in parts[:-1]:
            holder = holder.setdefault(part, {})
        last = parts[-1]
        # `expand[]=x` repeats one name.
        holder[last or str(len(holder))] = value
    return {key: _listed(value) for key, value in root.items()}


def flattened(value: dict[str, Any]) -> str:
    """Returns nested values as a form body again."""
    return urlencode(list(_pairs("", value)))


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_listed(value[key]) for key in sorted(value, key=int)]
    return {key: _listed(inner) for key, inner in value.items()}


def _pairs(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _pairs(f"{prefix}[{key}]" if prefix else key, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _pairs(f"{prefix}[{index}]", inner)
    else:
        yield prefix, str(value)
