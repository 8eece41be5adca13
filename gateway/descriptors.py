"""What there is to serve: the methods of a descriptor image, their HTTP rules and comments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

from google.rpc import error_details_pb2
from protobuf import DescFile, DescMessage, DescMethod, DescService, Registry
from protobuf.wkt import FileDescriptorProto, FileDescriptorSet

HTTP_RULE = "google.api.http"
FIELD_BEHAVIOR = "google.api.field_behavior"
POLICY = "finops.options.v1.method"
FIELD_RULES = "buf.validate.field"

# Field numbers in descriptor.proto, as the paths of SourceCodeInfo spell them.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _NESTED, _NESTED_ENUMS, _VALUES, _METHODS = 2, 3, 4, 2, 2


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to reach a method over HTTP, as `google.api.http` declares it."""

    verb: str
    template: str
    body: str
    response_body: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What `finops.options.v1.method` says of a method."""

    permission: str = ""
    idempotent: bool = False
    cacheable: bool = False
    forwarded_headers: tuple[str, ...] = ()

    @property
    def is_public(self) -> bool:
        """Whether a caller without a token is admitted."""
        return self.permission == "public"


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """One RPC with its bindings."""

    service: str
    name: str
    descriptor: DescMethod
    bindings: tuple[Binding, ...]
    policy: Policy

    @property
    def path(self) -> str:
        """The gRPC path, `/package.Service/Method`."""
        return f"/{self.service}/{self.name}"

    @property
    def input(self) -> DescMessage:
        """Shape of a request."""
        return self.descriptor.input

    @property
    def output(self) -> DescMessage:
        """Shape of a response."""
        return self.descriptor.output

    @property
    def takes_stream(self) -> bool:
        """Whether the caller sends many messages."""
        return self.descriptor.method_kind in ("client_streaming", "bidi_streaming")

    @property
    def gives_stream(self) -> bool:
        """Whether the service answers with many messages."""
        return self.descriptor.method_kind in ("server_streaming", "bidi_streaming")


class Catalog:
    """The services of one image, with everything the gateway reads of them."""

    def __init__(self, image: bytes) -> None:
        """Takes a serialized FileDescriptorSet with imports; comments need its source info."""
        known = FileDescriptorSet.from_binary(image)
        names = {file.name for file in known.file}
        # Error details travel in Any: their shape must be known even where no contract imports it.
        known.file.extend(file for file in _error_details() if file.name not in names)
        self.registry: Registry = known.to_registry()

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """Every method that has an HTTP rule, in the order of the image."""
        return tuple(
            _method(self.registry, service, method)
            for service in self.registry
            if isinstance(service, DescService)
            for method in service.methods
            if option(self.registry, method, HTTP_RULE) is not None
        )

    @cached_property
    def comments(self) -> dict[str, str]:
        """Comment of each service, method, message, field, enum and value by its full name."""
        found: dict[str, str] = {}
        for file in self.registry:
            if isinstance(file, DescFile):
                found.update(_comments(file))
        return found


def packaged_image() -> bytes:
    """Returns the image that the build wrote beside the generated code.

    Raises FileNotFoundError where the contracts were not generated.
    """
    return (files("finops") / "descriptors.binpb").read_bytes()


def option(registry: Registry, descriptor: Any, name: str) -> Any:
    """Returns the value of an option extension on a descriptor; None where it is not set."""
    extension = registry.extension(name)
    options = descriptor.proto.options
    if extension is None or options is None or extension.type not in options:
        return None
    return options[extension.type]


def _error_details() -> list[FileDescriptorProto]:
    descriptor = error_details_pb2.DESCRIPTOR
    wanted = [*descriptor.dependencies, descriptor]
    return [FileDescriptorProto.from_binary(file.serialized_pb) for file in wanted]


def _method(registry: Registry, service: DescService, method: DescMethod) -> Method:
    rule = option(registry, method, HTTP_RULE)
    policy = option(registry, method, POLICY)
    return Method(
        service=service.type_name,
        name=method.name,
        descriptor=method,
        bindings=tuple(_bindings(rule)),
        policy=Policy()
        if policy is None
        else Policy(
            permission=policy.permission,
            idempotent=policy.idempotent,
            cacheable=policy.cacheable,
            forwarded_headers=tuple(policy.forwarded_headers),
        ),
    )


def _bindings(rule: Any) -> Iterator[Binding]:
    pattern = rule.pattern
    if pattern is not None:
        custom = pattern.field == "custom"
        verb = pattern.value.kind if custom else pattern.field
        template = pattern.value.path if custom else pattern.value
        yield Binding(verb.upper(), template, rule.body, rule.response_body)
    for additional in rule.additional_bindings:
        yield from _bindings(additional)


def _comments(file: DescFile) -> Iterator[tuple[str, str]]:
    info = file.proto.source_code_info
    if info is None:
        return
    texts = {
        tuple(location.path): _clean(location.leading_comments or location.trailing_comments)
        for location in info.location
        if location.leading_comments or location.trailing_comments
    }
    for path, name in _places(file.proto):
        if path in texts:
            yield name, texts[path]


def _clean(comment: str) -> str:
    lines = [line.strip() for line in comment.strip().splitlines()]
    return "\n".join(lines)


def _places(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yields the source path and full name of every element that may bear a comment."""
    prefix = f"{file.package}." if file.package else ""
    for index, message in enumerate(file.message_type):
        yield from _message_places(message, (_MESSAGES, index), prefix)
    for index, enum in enumerate(file.enum_type):
        yield from _enum_places(enum, (_ENUMS, index), prefix)
    for index, service in enumerate(file.service):
        path = (_SERVICES, index)
        yield path, f"{prefix}{service.name}"
        for number, method in enumerate(service.method):
            yield (*path, _METHODS, number), f"{prefix}{service.name}.{method.name}"


def _message_places(
    message: Any, path: tuple[int, ...], prefix: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    name = f"{prefix}{message.name}"
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, _FIELDS, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message_places(nested, (*path, _NESTED, index), f"{name}.")
    for index, enum in enumerate(message.enum_type):
        yield from _enum_places(enum, (*path, _NESTED_ENUMS, index), f"{name}.")


def _enum_places(
    enum: Any, path: tuple[int, ...], prefix: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    name = f"{prefix}{enum.name}"
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, _VALUES, index), f"{name}.{value.name}"
