"""Which parts of the contracts lack a comment, by the descriptor image's source information."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

from tests.support.source_tree import ROOT

PROTOS = ROOT / "protos"
IMAGE = ROOT / "gen" / "finops" / "descriptors.binpb"


@cache
def contracts() -> tuple[pb.FileDescriptorProto, ...]:
    """Returns the suite's own files of the image."""
    image = pb.FileDescriptorSet.FromString(IMAGE.read_bytes())
    return tuple(file for file in image.file if file.name.startswith("finops/"))


def files_missing_from_image() -> list[str]:
    """Returns the contracts that the generated image does not hold yet."""
    held = {file.name for file in contracts()}
    return sorted(
        name
        for path in PROTOS.rglob("*.proto")
        if (name := path.relative_to(PROTOS).as_posix()) not in held
    )


def components_without_comment() -> Iterator[tuple[Path, int, str]]:
    """Yields (file, line, full name) of services, methods, messages, fields, enums and values."""
    for file in contracts():
        commented = set()
        lines = {}
        for location in file.source_code_info.location:
            path = tuple(location.path)
            lines[path] = location.span[0] + 1
            if (location.leading_comments + location.trailing_comments).strip():
                commented.add(path)
        for path, name in _components(file):
            if path not in commented:
                yield PROTOS / file.name, lines.get(path, 1), f"{file.package}.{name}"


def _components(file: pb.FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    for index, service in enumerate(file.service):
        path = (pb.FileDescriptorProto.SERVICE_FIELD_NUMBER, index)
        yield path, service.name
        for number, method in enumerate(service.method):
            yield (
                (*path, pb.ServiceDescriptorProto.METHOD_FIELD_NUMBER, number),
                f"{service.name}.{method.name}",
            )
    for index, message in enumerate(file.message_type):
        path = (pb.FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, index)
        yield from _message(path, message, message.name)
    for index, enum in enumerate(file.enum_type):
        path = (pb.FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, index)
        yield from _enum(path, enum, enum.name)
    for index, extension in enumerate(file.extension):
        yield (pb.FileDescriptorProto.EXTENSION_FIELD_NUMBER, index), extension.name


def _message(
    path: tuple[int, ...], message: pb.DescriptorProto, name: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    if message.options.map_entry:
        return
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, pb.DescriptorProto.FIELD_FIELD_NUMBER, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        inner = (*path, pb.DescriptorProto.NESTED_TYPE_FIELD_NUMBER, index)
        yield from _message(inner, nested, f"{name}.{nested.name}")
    for index, enum in enumerate(message.enum_type):
        inner = (*path, pb.DescriptorProto.ENUM_TYPE_FIELD_NUMBER, index)
        yield from _enum(inner, enum, f"{name}.{enum.name}")


def _enum(
    path: tuple[int, ...], enum: pb.EnumDescriptorProto, name: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, pb.EnumDescriptorProto.VALUE_FIELD_NUMBER, index), f"{name}.{value.name}"
