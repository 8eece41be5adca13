"""buf finds nothing to say about the contracts, and no caller of the last version breaks.

Both checks run on descriptor images, so they need no network and no .proto file of others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import google.api.annotations_pb2
import grpc_tools
import pytest
from google.protobuf import descriptor_pb2

from hatch_build import VALIDATE, validation_descriptors
from tests.contracts.image import IMAGE, ROOT

CONFIG = ROOT / "buf.yaml"
TIMEOUT_SECONDS = 120


def tool(name: str) -> str:
    """Returns the path of a program of this environment, or skips the test."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def buf(scratch: Path, *arguments: str) -> list[str]:
    """Runs buf on the suite's own files of an image. Returns what it found, a line each.

    Raises AssertionError when buf itself fails, for example on an unreadable image.
    """
    command = [tool("buf"), *arguments, "--path", "finops", "--config", str(CONFIG)]
    environment = {**os.environ, "HOME": str(scratch), "BUF_CACHE_DIR": str(scratch / "cache")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    # 100 says that buf ran and found something.
    assert done.returncode in (0, 100), done.stderr
    return done.stdout.splitlines()


def git(*arguments: str) -> bytes:
    """Runs git in the work tree. Returns its output."""
    command = [tool("git"), "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT_SECONDS, check=True).stdout


def is_unchanged_since(commit: str) -> bool:
    """Whether the work tree's contracts are those of a commit."""
    untracked = git("ls-files", "--others", "--exclude-standard", "--", "protos")
    changed = git("diff", "--name-only", commit, "--", "protos")
    return not untracked and not changed


def baseline() -> str:
    """Returns the commit that callers were built against, or skips with the reason.

    That is the newest release tag; before the first release the last commit whose contracts are
    not the present ones, so that each change is compared with what was before it.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("not a git work tree: there is no earlier version to compare with")
    tags = git("tag", "--list", "v*", "--sort=-v:refname", "--merged", "HEAD").decode().split()
    if tags:
        return tags[0]
    for commit in git("rev-list", "--max-count=50", "HEAD", "--", "protos").decode().split():
        if not is_unchanged_since(commit):
            return commit
    pytest.skip("no earlier version of the contracts in this clone")


def compile_image(protos: Path, image: Path) -> None:
    """Writes the descriptor image of the contracts in a folder."""
    validate = image.with_suffix(".validate")
    validate.write_bytes(validation_descriptors())
    google_protos = Path(google.api.annotations_pb2.__file__).parents[2]
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        *(f"-I{folder}" for folder in (protos, google_protos, well_known)),
        f"--descriptor_set_in={validate}",
        f"--descriptor_set_out={image}",
        "--include_imports",
        "--include_source_info",
        VALIDATE,
        *sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto")),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)


def own(image: descriptor_pb2.FileDescriptorSet) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """Yields the files of an image that may be changed without touching an import."""
    return (file for file in image.file if file.name == "finops/budget/v1/budget_service.proto")


def changed_image(
    scratch: Path, change: Callable[[descriptor_pb2.FileDescriptorProto], None]
) -> str:
    """Writes the image with one file changed. Returns its path."""
    image = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())
    for file in own(image):
        change(file)
    path = scratch / "changed.binpb"
    path.write_bytes(image.SerializeToString())
    return str(path)


def remove_field(file: descriptor_pb2.FileDescriptorProto) -> None:
    """Takes the last field out of the first message with several."""
    message = next(message for message in file.message_type if len(message.field) > 1)
    del message.field[-1]


def rename_service(file: descriptor_pb2.FileDescriptorProto) -> None:
    """Gives the service a name that no service may have."""
    file.service[0].name = "budgets"


def test_lint_finds_nothing(tmp_path: Path) -> None:
    assert buf(tmp_path, "lint", str(IMAGE)) == []


def test_lint_finds_a_bad_name(tmp_path: Path) -> None:
    found = buf(tmp_path, "lint", changed_image(tmp_path, rename_service))

    assert any("budgets" in line for line in found)


def test_callers_of_the_last_version_do_not_break(tmp_path: Path) -> None:
    commit = baseline()
    stored = BytesIO(git("archive", "--format=tar", commit, "protos"))
    with tarfile.open(fileobj=stored) as archive:
        archive.extractall(tmp_path, filter="data")
    before = tmp_path / "before.binpb"
    compile_image(tmp_path / "protos", before)

    broken = buf(tmp_path, "breaking", str(IMAGE), "--against", str(before))

    assert broken == []


def test_a_removed_field_is_found(tmp_path: Path) -> None:
    after = changed_image(tmp_path, remove_field)

    broken = buf(tmp_path, "breaking", after, "--against", str(IMAGE))

    assert any("was deleted" in line for line in broken)
