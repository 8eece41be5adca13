"""What no text of any request may hold."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

from services.kernel.errors import FieldViolations
from services.kernel.validation import validate

TEXT = Value(string_value="a\x00")


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (StringValue(value="\x00"), "value"),
        (FieldMask(paths=["a", "b\x00"]), "paths"),
        (Struct(fields={"a\x00": Value()}), "fields"),
        (Struct(fields={"a": TEXT}), "fields.string_value"),
        (ListValue(values=[Value(), TEXT]), "values.string_value"),
    ],
)
def test_the_character_that_postgresql_cannot_store_is_refused(message: Message, path: str) -> None:
    with pytest.raises(FieldViolations) as caught:
        validate(message)

    assert caught.value.violations == [(path, "must not hold the character U+0000")]


@pytest.mark.parametrize("message", [BytesValue(value=b"\x00"), StringValue(value="\\u0000")])
def test_bytes_may_hold_any(message: Message) -> None:
    before = message.SerializeToString()

    validate(message)

    assert message.SerializeToString() == before
