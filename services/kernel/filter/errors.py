"""What can be wrong with a filter or an order; each names the place in the caller's text."""

from __future__ import annotations

from google.protobuf.message import Message
from google.rpc import error_details_pb2

from services.kernel.errors import InvalidArgument


class InvalidFilter(InvalidArgument):
    """The filter is not well formed; see AIP-160 for the language."""

    reason = "INVALID_FILTER"

    def __init__(self, problem: str, /, *, position: int, **metadata: object) -> None:
        """Takes what is wrong and where: the first character of the filter is position 1."""
        self.problem = problem
        super().__init__(f"filter, character {position}: {problem}", position=position, **metadata)

    def details(self) -> list[Message]:
        """Adds `BadRequest` for the field `filter`."""
        bad_request = error_details_pb2.BadRequest()
        bad_request.field_violations.add(field="filter", description=self.message)
        return [*super().details(), bad_request]


class FilterTooLarge(InvalidFilter):
    """The filter is longer, deeper or has more terms than a filter may."""

    reason = "FILTER_TOO_LARGE"


class UnknownFilterField(InvalidFilter):
    """The filter names a field that this list cannot be filtered by."""

    reason = "UNKNOWN_FILTER_FIELD"


class FilterValueInvalid(InvalidFilter):
    """The filter compares a field with a value that its type does not have."""

    reason = "FILTER_VALUE_INVALID"


class OperatorNotSupported(InvalidFilter):
    """The filter uses an operator that the field does not have."""

    reason = "FILTER_OPERATOR_NOT_SUPPORTED"


class InvalidOrder(InvalidArgument):
    """An order is a list of fields such as `amount desc, name`."""

    reason = "INVALID_ORDER_BY"

    def details(self) -> list[Message]:
        """Adds `BadRequest` for the field `order_by`."""
        bad_request = error_details_pb2.BadRequest()
        bad_request.field_violations.add(field="order_by", description=self.message)
        return [*super().details(), bad_request]
