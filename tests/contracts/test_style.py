"""Every contract is written the same way: commented, paged, versioned, exact."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2

from tests.contracts.image import (
    FLOATS,
    INTEGERS,
    PROTOS,
    Method,
    field_names,
    files,
    messages,
    methods,
    request_of,
)

HTTP_BODY = ".google.api.HttpBody"
MONEY = re.compile(
    r"(?:^|_)(?:amount|balance|budget|cost|credit|fee|held|impact|limit|paid|price|saving|spend"
    r"|spent|subtotal|tax|total)s?$"
)
DECIMAL = re.compile(r"(?:^|_)(?:ratio|rate|quantity|fraction|percent|score)$")
LISTED = {"page_size", "page_token", "filter", "order_by"}
FIELD = descriptor_pb2.FieldDescriptorProto
REQUIRED_COMMENT = {
    field_behavior_pb2.REQUIRED: "Required.",
    field_behavior_pb2.OUTPUT_ONLY: "Output only.",
    field_behavior_pb2.INPUT_ONLY: "Input only.",
}

File = descriptor_pb2.FileDescriptorProto
Path = tuple[int, ...]


def in_enum(
    prefix: str, path: Path, enum: descriptor_pb2.EnumDescriptorProto
) -> Iterator[tuple[str, Path]]:
    """Yields name and source path of an enum and its values."""
    yield f"{prefix}.{enum.name}", path
    for number, value in enumerate(enum.value):
        yield f"{prefix}.{enum.name}.{value.name}", (*path, 2, number)


def in_message(
    prefix: str, path: Path, message: descriptor_pb2.DescriptorProto
) -> Iterator[tuple[str, Path]]:
    """Yields name and source path of a message, its fields and oneofs, and what is nested in it."""
    if message.options.map_entry:
        return
    name = f"{prefix}.{message.name}"
    yield name, path
    for number, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, 2, number)
    synthetic = {field.oneof_index for field in message.field if field.proto3_optional}
    for number, oneof in enumerate(message.oneof_decl):
        if number not in synthetic:
            yield f"{name}.{oneof.name}", (*path, 8, number)
    for number, nested in enumerate(message.nested_type):
        yield from in_message(name, (*path, 3, number), nested)
    for number, enum in enumerate(message.enum_type):
        yield from in_enum(name, (*path, 4, number), enum)


def components(file: File) -> Iterator[tuple[str, Path]]:
    """Yields name and source path of everything in a file that needs a comment."""
    for number, message in enumerate(file.message_type):
        yield from in_message(file.package, (4, number), message)
    for number, enum in enumerate(file.enum_type):
        yield from in_enum(file.package, (5, number), enum)
    for number, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield name, (6, number)
        for place, method in enumerate(service.method):
            yield f"{name}.{method.name}", (6, number, 2, place)


def comments(file: File) -> dict[Path, str]:
    """Returns the leading comment by source path."""
    return {
        tuple(location.path): location.leading_comments.strip()
        for location in file.source_code_info.location
    }


def all_fields() -> Iterator[tuple[str, descriptor_pb2.FieldDescriptorProto]]:
    """Yields every field of every message with its full name."""
    for message in messages().values():
        for field in message.descriptor.field:
            yield f"{message.name}.{field.name}", field


@pytest.mark.parametrize("file", files(), ids=lambda file: file.name)
def test_every_component_has_a_comment(file: File) -> None:
    said = comments(file)

    assert [name for name, path in components(file) if len(said.get(path, "")) < 2] == []


@pytest.mark.parametrize("file", files(), ids=lambda file: file.name)
def test_comment_and_field_behavior_agree(file: File) -> None:
    said = comments(file)
    wrong: list[str] = []
    for number, message in enumerate(file.message_type):
        for place, field in enumerate(message.field):
            behaviors = field.options.Extensions[field_behavior_pb2.field_behavior]
            text = said.get((4, number, 2, place), "")
            for behavior, word in REQUIRED_COMMENT.items():
                if behavior in behaviors and not text.startswith(word):
                    wrong.append(f"{message.name}.{field.name}: {word}")

    assert wrong == []


@pytest.mark.parametrize("file", files(), ids=lambda file: file.name)
def test_file_stands_where_its_package_says(file: File) -> None:
    assert file.name.rpartition("/")[0] == file.package.replace(".", "/")
    assert (PROTOS / file.name).is_file()


def test_image_holds_every_contract() -> None:
    written = {str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto")}

    assert {file.name for file in files()} == written


def test_first_enum_value_is_unspecified() -> None:
    enums = [enum for file in files() for enum in file.enum_type]
    enums += [enum for message in messages().values() for enum in message.descriptor.enum_type]

    wrong = [
        enum.name
        for enum in enums
        if enum.value[0].number != 0 or not enum.value[0].name.endswith("_UNSPECIFIED")
    ]

    assert len(enums) > 50
    assert wrong == []


@pytest.mark.parametrize(
    "method",
    [method for method in methods() if method.descriptor.name.startswith("List")],
    ids=lambda method: method.name,
)
def test_list_is_paged_filtered_and_ordered(method: Method) -> None:
    answer = messages()[method.descriptor.output_type].descriptor
    repeated = [field for field in answer.field if field.label == FIELD.LABEL_REPEATED]

    assert field_names(request_of(method)) >= LISTED
    assert "next_page_token" in field_names(answer)
    assert repeated


@pytest.mark.parametrize(
    "method",
    [method for method in methods() if method.descriptor.name.startswith("Watch")],
    ids=lambda method: method.name,
)
def test_watch_streams_and_resumes(method: Method) -> None:
    assert method.descriptor.server_streaming
    assert "after_sequence" in field_names(request_of(method))
    assert "sequence" in field_names(messages()[method.descriptor.output_type].descriptor)


@pytest.mark.parametrize(
    "method",
    [method for method in methods() if any(binding.verb == "PATCH" for binding in method.bindings)],
    ids=lambda method: method.name,
)
def test_patch_names_its_fields(method: Method) -> None:
    masks = [field.type_name for field in request_of(method).field if field.name == "update_mask"]

    assert masks == [".google.protobuf.FieldMask"]


def test_requests_and_answers_belong_to_one_method() -> None:
    wrong = []
    for method in methods():
        name = method.descriptor.name
        answer = method.descriptor.output_type
        if not method.descriptor.input_type.endswith(f".{name}Request"):
            wrong.append(method.name)
        # A raw body, such as a PDF, is the one answer that methods may share.
        if answer != HTTP_BODY and not answer.endswith(f".{name}Response"):
            wrong.append(method.name)
    used = Counter(
        kind
        for method in methods()
        for kind in (method.descriptor.input_type, method.descriptor.output_type)
        if kind != HTTP_BODY
    )

    assert wrong == []
    assert [kind for kind, times in used.items() if times > 1] == []


def test_money_is_never_binary() -> None:
    wrong = [
        name for name, field in all_fields() if MONEY.search(field.name) and field.type in FLOATS
    ]

    assert wrong == []


def test_decimals_and_money_are_never_integers() -> None:
    wrong = [
        name
        for name, field in all_fields()
        if (MONEY.search(field.name) or DECIMAL.search(field.name)) and field.type in INTEGERS
    ]

    assert wrong == []
