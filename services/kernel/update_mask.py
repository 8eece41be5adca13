"""Which fields an update changes (AIP-134)."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from services.kernel.errors import InvalidArgument

EVERYTHING = "*"


class UnknownMaskPath(InvalidArgument):
    """The update mask names a field that cannot be changed."""

    reason = "UNKNOWN_MASK_PATH"

    def details(self) -> list[Message]:
        """Adds `BadRequest` for the field `update_mask`."""
        bad_request = error_details_pb2.BadRequest()
        bad_request.field_violations.add(field="update_mask", description=self.message)
        return [*super().details(), bad_request]


def fields_to_update(
    message: Message,
    mask: FieldMask,
    *,
    updatable: Collection[str],
    ignored: Collection[str] = (),
) -> frozenset[str]:
    """Returns the names of the fields to change: those of the mask, else all that are set.

    mask: paths of the message's own fields, or `*` for all that can be changed.
    ignored: what a resource that was read carries and an update leaves alone, as its id and etag.
    Raises UnknownMaskPath.
    """
    if not mask.paths:
        return frozenset(field.name for field, _ in message.ListFields()).intersection(updatable)
    if list(mask.paths) == [EVERYTHING]:
        return frozenset(updatable)
    for path in mask.paths:
        if path not in updatable and path not in ignored:
            allowed = ", ".join(sorted(updatable))
            raise UnknownMaskPath(
                f"update_mask: there is no field {path[:60]!r} to change; there are {allowed}",
                path=path[:60],
                allowed=allowed,
            )
    return frozenset(mask.paths).intersection(updatable)
