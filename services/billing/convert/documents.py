"""Files between contract and domain."""

from __future__ import annotations

from google.api.httpbody_pb2 import HttpBody


def from_pdf(content: bytes) -> HttpBody:
    """Converts a PDF."""
    return HttpBody(content_type="application/pdf", data=content)


def from_csv(chunk: bytes) -> HttpBody:
    """Converts a part of a CSV file."""
    return HttpBody(content_type="text/csv; charset=utf-8", data=chunk)
