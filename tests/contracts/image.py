"""The compiled contracts: the descriptor image, read once, as the contract tests look at it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from buf.validate import validate_pb2
from finops.options.v1 import method_pb2
from google.api import annotations_pb2, field_behavior_pb2, http_pb2
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[2]
PROTOS = ROOT / "protos"
IMAGE = ROOT / "gen" / "finops" / "descriptors.binpb"
OWN = "finops/"
FLOATS = (
    descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
)
INTEGERS = (
    descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    descriptor_pb2.FieldDescriptorProto.TYPE_SINT32,
    descriptor_pb2.FieldDescriptorProto.TYPE_SINT64,
)
_VARIABLE = re.compile(r"\{[^}=]+(?:=([^}]+))?\}")


@dataclass(frozen=True, slots=True)
class Binding:
    """One REST binding of a method: HTTP verb, path template as written, body selector."""

    verb: str
    path: str
    body: str

    @property
    def shape(self) -> str:
        """The verb and path with the names of variables taken out: what a router sees."""
        return f"{self.verb} {_VARIABLE.sub(lambda found: '{' + (found[1] or '') + '}', self.path)}"


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC with its policy and its REST bindings; none for a method of services alone."""

    service: str
    descriptor: descriptor_pb2.MethodDescriptorProto

    @property
    def name(self) -> str:
        """The full name, for example `finops.usage.v1.UsageService.RecordUsage`."""
        return f"{self.service}.{self.descriptor.name}"

    @property
    def policy(self) -> method_pb2.MethodPolicy:
        """The method's policy; an empty one where it has none."""
        return self.descriptor.options.Extensions[method_pb2.method]

    @property
    def bindings(self) -> list[Binding]:
        """The REST bindings, the main one first."""
        rule = self.descriptor.options.Extensions[annotations_pb2.http]
        return [
            Binding(verb.upper(), getattr(one, verb), one.body)
            for one in (rule, *rule.additional_bindings)
            if (verb := one.WhichOneof("pattern"))
        ]


@dataclass(frozen=True, slots=True)
class Message:
    """One message with its full name, nested ones included, map entries left out."""

    name: str
    descriptor: descriptor_pb2.DescriptorProto


@cache
def files() -> tuple[descriptor_pb2.FileDescriptorProto, ...]:
    """Returns the suite's own files of the image, options and source information included."""
    # The imports above register the options, so that parsing finds them.
    assert http_pb2
    assert validate_pb2
    assert field_behavior_pb2
    image = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())
    return tuple(file for file in image.file if file.name.startswith(OWN))


@cache
def methods() -> tuple[Method, ...]:
    """Returns every RPC of every service."""
    return tuple(
        Method(f"{file.package}.{service.name}", method)
        for file in files()
        for service in file.service
        for method in service.method
    )


@cache
def messages() -> dict[str, Message]:
    """Returns every message by its full name with a leading dot, as fields refer to it."""

    def walk(prefix: str, found: descriptor_pb2.DescriptorProto) -> Iterator[tuple[str, Message]]:
        name = f"{prefix}.{found.name}"
        if not found.options.map_entry:
            yield name, Message(name[1:], found)
        for nested in found.nested_type:
            yield from walk(name, nested)

    return {
        name: message
        for file in files()
        for top in file.message_type
        for name, message in walk(f".{file.package}", top)
    }


def request_of(method: Method) -> descriptor_pb2.DescriptorProto:
    """Returns the message that a method takes."""
    return messages()[method.descriptor.input_type].descriptor


def field_names(message: descriptor_pb2.DescriptorProto) -> set[str]:
    """Returns the names of a message's fields."""
    return {field.name for field in message.field}
