"""Compiles the example contract of these tests into a descriptor image."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import google.api.annotations_pb2
from grpc_tools import protoc

from hatch_build import validation_descriptors

ROOT = Path(__file__).parents[2]
PROTOS = Path(__file__).parent / "protos"


@cache
def example_image() -> bytes:
    """Returns the serialized FileDescriptorSet, imports and source info included."""
    google_protos = Path(google.api.annotations_pb2.__file__).parents[2]
    well_known = Path(protoc.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        validate = Path(scratch) / "validate.binpb"
        validate.write_bytes(validation_descriptors())
        image = Path(scratch) / "image.binpb"
        code = protoc.main(
            [
                "protoc",
                f"-I{PROTOS}",
                f"-I{ROOT / 'protos'}",
                f"-I{google_protos}",
                f"-I{well_known}",
                f"--descriptor_set_in={validate}",
                f"--descriptor_set_out={image}",
                "--include_imports",
                "--include_source_info",
                "example/v1/example.proto",
            ]
        )
        assert code == 0
        return image.read_bytes()
