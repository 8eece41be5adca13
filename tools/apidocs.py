"""Writes the reference of the API, from the contracts' own comments, to `build/docs/api.md`.

`make docs` runs it. Services with their RPCs, REST routes and permissions; messages with their
fields, rules and defaults; enums. Nothing is kept by hand, so nothing can be out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from buf.validate import validate_pb2
from finops.options.v1 import method_pb2
from google.api import annotations_pb2, field_behavior_pb2, http_pb2
from google.protobuf import descriptor_pb2 as pb
from google.protobuf.message import Message

ROOT = Path(__file__).parents[1]
IMAGE = ROOT / "gen" / "finops" / "descriptors.binpb"
TARGET = ROOT / "build" / "docs" / "api.md"

Path_ = tuple[int, ...]
_VERBS = ("get", "put", "post", "delete", "patch")
_TYPE_NAMES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in pb.FieldDescriptorProto.Type.items()
}


class Comments:
    """The comments of one file by the path of what they stand above."""

    def __init__(self, file: pb.FileDescriptorProto) -> None:
        """Reads the source information of an image made with `--include_source_info`."""
        self._by_path = {
            tuple(location.path): location.leading_comments or location.trailing_comments
            for location in file.source_code_info.location
        }

    def at(self, path: Path_) -> str:
        """Returns the comment as one paragraph a blank line apart, empty without one."""
        paragraphs = self._by_path.get(path, "").strip().split("\n\n")
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def render(files: Iterable[pb.FileDescriptorProto]) -> str:
    """Returns the whole reference as Markdown, packages in the order of their names."""
    packages: dict[str, list[pb.FileDescriptorProto]] = {}
    for file in files:
        packages.setdefault(file.package, []).append(file)
    lines = [
        "# API reference",
        "",
        (
            "Generated from `protos/` by `make docs`. REST takes and gives the proto3 JSON "
            "mapping; every call needs `Authorization: Bearer <token or API key>` unless its "
            "permission is `public`."
        ),
        "",
        *(f"* [{package}](#{package})" for package in sorted(packages)),
    ]
    for package, members in sorted(packages.items()):
        lines += ["", f"## {package}", f'<a id="{package}"></a>']
        for file in members:
            lines += _services(file)
        for file in members:
            lines += _types(file)
    return "\n".join(lines) + "\n"


def _services(file: pb.FileDescriptorProto) -> Iterator[str]:
    comments = Comments(file)
    for index, service in enumerate(file.service):
        path = (pb.FileDescriptorProto.SERVICE_FIELD_NUMBER, index)
        yield from ("", f"### {service.name}", "", comments.at(path))
        for number, method in enumerate(service.method):
            here = (*path, pb.ServiceDescriptorProto.METHOD_FIELD_NUMBER, number)
            yield from _method(file.package, service, method, comments.at(here))


def _method(
    package: str,
    service: pb.ServiceDescriptorProto,
    method: pb.MethodDescriptorProto,
    comment: str,
) -> Iterator[str]:
    yield from ("", f"#### {service.name}.{method.name}", "", comment, "")
    request, answer = _type_link(method.input_type), _type_link(method.output_type)
    yield f"* gRPC: `/{package}.{service.name}/{method.name}`"
    yield (
        f"* {'Stream of ' if method.client_streaming else ''}{request} → "
        f"{'stream of ' if method.server_streaming else ''}{answer}"
    )
    rule = method.options.Extensions[annotations_pb2.http]
    for binding in (rule, *rule.additional_bindings):
        yield from _route(binding)
    policy = method.options.Extensions[method_pb2.method]
    yield f"* Permission: `{policy.permission}`"
    effects = [
        text
        for is_so, text in (
            (policy.audit, "writes an audit entry in its transaction"),
            (policy.idempotent, "repeated with the same `request_id`, gives the stored answer"),
            (policy.cacheable, "answers 304 to a matching ETag"),
        )
        if is_so
    ]
    if effects:
        sentence = "; ".join(effects)
        yield f"* {sentence[0].upper()}{sentence[1:]}"


def _route(rule: http_pb2.HttpRule) -> Iterator[str]:
    kind = rule.WhichOneof("pattern")
    if kind == "custom":
        yield f"* REST: `{rule.custom.kind} {rule.custom.path}`"
    elif kind in _VERBS:
        body = {"": "", "*": ", the body is the request"}.get(
            rule.body, f", the body is `{rule.body}`"
        )
        yield f"* REST: `{kind.upper()} {getattr(rule, kind)}`{body}"


def _types(file: pb.FileDescriptorProto) -> Iterator[str]:
    comments = Comments(file)
    for index, message in enumerate(file.message_type):
        path = (pb.FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, index)
        yield from _message(message, f"{file.package}.{message.name}", path, comments)
    for index, enum in enumerate(file.enum_type):
        path = (pb.FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, index)
        yield from _enum(enum, f"{file.package}.{enum.name}", path, comments)


def _message(
    message: pb.DescriptorProto, name: str, path: Path_, comments: Comments
) -> Iterator[str]:
    yield from (*_heading(name), comments.at(path))
    if message.field:
        yield from ("", "| field | type | rules | meaning |", "| --- | --- | --- | --- |")
    maps = {
        nested.name: nested.field[1] for nested in message.nested_type if nested.options.map_entry
    }
    for index, field in enumerate(message.field):
        here = (*path, pb.DescriptorProto.FIELD_FIELD_NUMBER, index)
        cells = (
            f"`{field.name}`",
            _field_type(field, maps),
            "<br>".join(_rules(field)),
            comments.at(here),
        )
        yield f"| {' | '.join(_cell(cell) for cell in cells)} |"
    for index, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            here = (*path, pb.DescriptorProto.NESTED_TYPE_FIELD_NUMBER, index)
            yield from _message(nested, f"{name}.{nested.name}", here, comments)
    for index, enum in enumerate(message.enum_type):
        here = (*path, pb.DescriptorProto.ENUM_TYPE_FIELD_NUMBER, index)
        yield from _enum(enum, f"{name}.{enum.name}", here, comments)


def _enum(
    enum: pb.EnumDescriptorProto, name: str, path: Path_, comments: Comments
) -> Iterator[str]:
    yield from (*_heading(name), comments.at(path), "", "| value | meaning |")
    yield "| --- | --- |"
    for index, value in enumerate(enum.value):
        here = (*path, pb.EnumDescriptorProto.VALUE_FIELD_NUMBER, index)
        yield f"| `{value.name}` | {_cell(comments.at(here))} |"


def _heading(name: str) -> tuple[str, ...]:
    """Returns the lines of a type's heading; its full name is the target of links."""
    return "", f"### {name.split('.', 3)[3]}", f'<a id="{name}"></a>', ""


def _field_type(field: pb.FieldDescriptorProto, maps: dict[str, pb.FieldDescriptorProto]) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        return f"map of {_field_type(entry, {})}"
    name = _type_link(field.type_name) if field.type_name else _TYPE_NAMES[field.type]
    is_list = field.label == pb.FieldDescriptorProto.LABEL_REPEATED
    return f"list of {name}" if is_list else name


def _rules(field: pb.FieldDescriptorProto) -> Iterator[str]:
    for behavior in field.options.Extensions[field_behavior_pb2.field_behavior]:
        yield field_behavior_pb2.FieldBehavior.Name(behavior).lower().replace("_", " ")
    if field.options.HasExtension(validate_pb2.field):
        yield from _settings(field.options.Extensions[validate_pb2.field], "")


def _settings(rules: Message, prefix: str) -> Iterator[str]:
    """Yields each rule that is set, as `string.max_len = 63`; a CEL rule by what it says."""
    for field, value in rules.ListFields():
        if field.name == "cel":
            yield from (f"{rule.message or f'`{rule.expression}`'}" for rule in value)
        elif field.message_type is not None and isinstance(value, Message):
            yield from _settings(value, f"{prefix}{field.name}.")
        else:
            shown = value if isinstance(value, str | int | float) else list(value)
            yield f"`{prefix}{field.name} = {shown}`"


def _type_link(full_name: str) -> str:
    name = full_name.removeprefix(".")
    if not name.startswith("finops."):
        return f"`{name}`"
    return f"[{name.split('.', 3)[3]}](#{name})"


def _cell(text: str) -> str:
    return text.replace("\n\n", "<br>").replace("\n", " ").replace("|", "\\|")


def main() -> int:
    """Writes the reference and says where it is; 1 when the contracts were not generated yet."""
    if not IMAGE.exists():
        sys.stderr.write(f"{IMAGE.relative_to(ROOT)} is missing; run `make protos`\n")
        return 1
    image = pb.FileDescriptorSet.FromString(IMAGE.read_bytes())
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    files = [file for file in image.file if file.name.startswith("finops/")]
    TARGET.write_text(render(files), encoding="utf-8")
    sys.stdout.write(f"{TARGET.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
