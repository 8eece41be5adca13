"""Runs the stateful Stripe peer, in an environment of its own, on a Python older than it asks for.

It is written for Python 3.14, whose annotations are not evaluated; a compiler flag gives the same
on 3.12 and 3.13. Arguments are those of `seahaven.http`.
"""

from __future__ import annotations
import __future__

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any

PACKAGES = ("seahaven", "seahaven_stripe_world")


class LazyAnnotations(importlib.machinery.SourceFileLoader):
    """Compiles a module as if it began with `from __future__ import annotations`."""

    def source_to_code(  # type: ignore[override] # the stub has it static, the class has not
        self, data: Any, path: Any, *, _optimize: int = -1
    ) -> CodeType:
        flags = __future__.annotations.compiler_flag
        code: CodeType = compile(data, path, "exec", flags=flags, dont_inherit=True)
        return code

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class PeerFinder(importlib.abc.MetaPathFinder):
    """Loads the peer's packages, and only them, that way."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, _: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = LazyAnnotations(spec.loader.name, spec.loader.path)
        return spec


def main() -> None:
    """Serves until it is killed."""
    sys.meta_path.insert(0, PeerFinder())
    http = importlib.import_module("seahaven.http")
    world = importlib.import_module("seahaven_stripe_world").world
    http.main(world, importlib.import_module("seahaven_stripe_world.http_api").handle)


if __name__ == "__main__":
    main()
