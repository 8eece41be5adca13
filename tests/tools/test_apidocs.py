"""The reference holds everything that the contracts say."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from buf.validate import validate_pb2
from finops.options.v1 import method_pb2
from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf import descriptor_pb2 as pb

from tests.contracts import image
from tools import apidocs


@cache
def reference() -> str:
    return apidocs.render(image.files())


def small_contract() -> pb.FileDescriptorProto:
    file = pb.FileDescriptorProto(name="finops/tea/v1/tea.proto", package="finops.tea.v1")
    service = file.service.add(name="TeaService")
    method = service.method.add(
        name="BrewTea",
        input_type=".finops.tea.v1.BrewTeaRequest",
        output_type=".google.protobuf.Empty",
        server_streaming=True,
    )
    rule = method.options.Extensions[annotations_pb2.http]
    rule.post, rule.body = "/v1/tea:brew", "*"
    rule.additional_bindings.add(get="/v1/tea")
    policy = method.options.Extensions[method_pb2.method]
    policy.permission, policy.audit, policy.idempotent = "tea.brew", True, True
    message = file.message_type.add(name="BrewTeaRequest")
    field = message.field.add(name="minutes", number=1, type=pb.FieldDescriptorProto.TYPE_INT32)
    field.options.Extensions[field_behavior_pb2.field_behavior].append(field_behavior_pb2.REQUIRED)
    rules = field.options.Extensions[validate_pb2.field]
    rules.int32.gte = 1
    rules.cel.add(id="even", message="minutes is even", expression="this % 2 == 0")
    location = file.source_code_info.location.add(path=[4, 0, 2, 0])
    location.leading_comments = " How long | it draws,\n in minutes.\n"
    return file


def test_a_method_shows_its_routes_permission_and_effects() -> None:
    text = apidocs.render([small_contract()])

    assert "#### TeaService.BrewTea" in text
    assert "* gRPC: `/finops.tea.v1.TeaService/BrewTea`" in text
    assert (
        "* [BrewTeaRequest](#finops.tea.v1.BrewTeaRequest) → stream of `google.protobuf.Empty`"
    ) in text
    assert "* REST: `POST /v1/tea:brew`, the body is the request" in text
    assert "* REST: `GET /v1/tea`\n" in text
    assert "* Permission: `tea.brew`" in text
    assert "* Writes an audit entry in its transaction; repeated with the same" in text


def test_a_field_shows_its_rules_and_comment_in_one_row() -> None:
    text = apidocs.render([small_contract()])

    assert (
        "| `minutes` | int32 | required<br>`int32.gte = 1`<br>minutes is even "
        r"| How long \| it draws, in minutes. |"
    ) in text


def test_every_method_message_and_enum_is_in_the_reference() -> None:
    lines = set(reference().splitlines())

    missing = [
        name
        for file in image.files()
        for name in (
            *(f"#### {each.name}.{rpc.name}" for each in file.service for rpc in each.method),
            *(f'<a id="{file.package}.{each.name}"></a>' for each in file.message_type),
            *(f'<a id="{file.package}.{each.name}"></a>' for each in file.enum_type),
        )
        if name not in lines
    ]
    assert missing == []


def test_every_link_has_a_target() -> None:
    links = set(re.findall(r"\]\(#([^)]+)\)", reference()))
    targets = set(re.findall(r'<a id="([^"]+)">', reference()))

    assert links
    assert links - targets == set()


def test_the_reference_is_written_where_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(apidocs, "ROOT", tmp_path)
    monkeypatch.setattr(apidocs, "TARGET", tmp_path / "build" / "docs" / "api.md")
    compiled = tmp_path / "descriptors.binpb"
    monkeypatch.setattr(apidocs, "IMAGE", compiled)

    assert apidocs.main() == 1
    assert "run `make protos`" in capsys.readouterr().err

    compiled.write_bytes(pb.FileDescriptorSet(file=[small_contract()]).SerializeToString())
    assert apidocs.main() == 0
    assert capsys.readouterr().out == "build/docs/api.md\n"
    assert "BrewTea" in (tmp_path / "build" / "docs" / "api.md").read_text()
