"""Which fields an update changes."""

from __future__ import annotations

import grpc
import pytest
from finops.usage.v1.directory_model_pb2 import Tenant
from google.protobuf.field_mask_pb2 import FieldMask

from services.kernel.errors import to_status
from services.kernel.update_mask import UnknownMaskPath, fields_to_update

UPDATABLE = ("display_name", "time_zone", "currency_code")
IGNORED = ("tenant_id", "etag")
READ = Tenant(tenant_id="acme", display_name="Acme", etag="1")


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], {"display_name"}),
        (["time_zone"], {"time_zone"}),
        (["time_zone", "time_zone", "display_name"], {"time_zone", "display_name"}),
        (["*"], set(UPDATABLE)),
        (["tenant_id", "etag"], set()),
        (["etag", "currency_code"], {"currency_code"}),
    ],
)
def test_a_mask_names_the_fields(paths: list[str], expected: set[str]) -> None:
    found = fields_to_update(READ, FieldMask(paths=paths), updatable=UPDATABLE, ignored=IGNORED)

    assert found == expected


@pytest.mark.parametrize("path", ["create_time", "colour", "", "display_name.first", "*"])
def test_a_path_that_cannot_be_changed_is_named(path: str) -> None:
    mask = FieldMask(paths=["display_name", path])

    with pytest.raises(UnknownMaskPath) as caught:
        fields_to_update(READ, mask, updatable=UPDATABLE, ignored=IGNORED)

    error = caught.value
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "UNKNOWN_MASK_PATH"
    assert error.metadata == {"path": path, "allowed": "currency_code, display_name, time_zone"}
    assert len(to_status(error).details) == 2
