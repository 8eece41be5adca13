"""Generates Python code and the descriptor image from `protos/` into `gen/`.

As a hatchling hook it runs on every install; `python hatch_build.py` (`make protos`) runs it again.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
PROTOS = ROOT / "protos"
GENERATED = ROOT / "gen"
VALIDATE = "buf/validate/validate.proto"


def validation_descriptors() -> bytes:
    """Returns the serialized FileDescriptorSet of buf/validate.

    The protovalidate wheel ships the descriptor and not the .proto file, so protoc gets that.
    """
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        duration_pb2,
        field_mask_pb2,
        timestamp_pb2,
    )
    from protovalidate._gen.buf.validate import validate_pb

    validate = descriptor_pb2.FileDescriptorProto.FromString(validate_pb._DESC.proto.to_binary())
    pool = descriptor_pool.Default()
    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        pool.FindFileByName(module.DESCRIPTOR.name).CopyToProto(files.file.add())
    files.file.append(validate)
    return files.SerializeToString()


def plugin(name: str) -> str:
    """Returns the path of a protoc plugin of this interpreter's environment."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is not installed; run `make setup`")
    return found


def generate() -> None:
    """Writes `gen/` anew: messages, stubs, type stubs and `gen/finops/descriptors.binpb`.

    Raises SystemExit with protoc's own messages when a contract does not compile.
    """
    import google.api.annotations_pb2
    from grpc_tools import protoc

    google_protos = Path(google.api.annotations_pb2.__file__).parents[2]
    well_known = Path(protoc.__file__).parent / "_proto"
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "gen"
        out.mkdir()
        validate = Path(scratch) / "validate.binpb"
        validate.write_bytes(validation_descriptors())
        image = out / "descriptors.binpb"
        search = [f"-I{PROTOS}", f"-I{google_protos}", f"-I{well_known}"]
        # protoc reads a file from a descriptor set only where no -I holds it: one call mixes both.
        code = protoc.main(
            [
                "protoc",
                *search,
                f"--descriptor_set_in={validate}",
                f"--descriptor_set_out={image}",
                "--include_imports",
                "--include_source_info",
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                f"--plugin=protoc-gen-mypy={plugin('protoc-gen-mypy')}",
                f"--plugin=protoc-gen-mypy_grpc={plugin('protoc-gen-mypy_grpc')}",
                f"--mypy_out=quiet:{out}",
                f"--mypy_grpc_out=quiet:{out}",
                VALIDATE,
                *files,
            ]
        )
        if code != 0:
            raise SystemExit(f"protoc failed with code {code}")
        for package in {path.parent for path in out.rglob("*_pb2.py")}:
            for folder in [package, *package.parents]:
                if folder in (out, *out.parents):
                    break
                (folder / "__init__.py").touch()
        image.rename(out / "finops" / "descriptors.binpb")
        (out / "finops" / "py.typed").touch()
        shutil.rmtree(GENERATED, ignore_errors=True)
        shutil.copytree(out, GENERATED)


class GenerateProtos(BuildHookInterface[Any]):
    """Runs `generate` before hatchling collects files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generates the stubs for a wheel and for an editable install alike."""
        del version, build_data
        generate()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    generate()
