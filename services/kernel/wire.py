"""What both ends of a connection between services agree on."""

from __future__ import annotations

from typing import Final

MESSAGE_BYTES_MAX: Final = 96 * 1024 * 1024  # a 64 MiB part of an import, with room to spare
METADATA_BYTES_MAX: Final = 16 * 1024  # a long token and a trace
# Clients ask an idle connection for life every 30 s; servers forbid more than every 10 s.
PING_SECONDS: Final = 30
PING_SECONDS_MIN: Final = 10
PING_TIMEOUT_SECONDS: Final = 20

SIZES: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
)
