"""The conventions that no linter knows, checked over the tree as it stands.

Every failure names file, line and rule. A rule is changed in CONTRIBUTING.md first, then here.
What holds for contracts, a comment on every component among it, is in tests/contracts.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.reserved_calls import RESERVED, Reserved
from tests.support.source_tree import (
    PRODUCT,
    ROOT,
    Finding,
    files,
    imports_of,
    is_in,
    module_name,
    nodes_of,
    pyproject,
    require_none,
    services,
    text_of,
    tree_of,
)

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
LINE_CHARACTERS_MAX = 100
CODE = (".py", ".proto", ".js", ".css", ".html", ".sh", ".sql")

# In reading order; each is a module or a package, and every service has all of them.
SERVICE_FILES = (
    *("__init__", "__main__", "bootstrap", "settings", "api", "convert", "service"),
    *("domain", "errors", "tables", "store", "worker", "migrations"),
)
DOMAIN_IMPORTS = frozenset(
    {"numpy", *(f"services.kernel.{name}" for name in ("money", "period", "clock", "ids"))}
    | {"services.kernel.errors", "services.kernel.filter"}
)
BANNED_CLASSES = re.compile(r"(Manager|Helper|Impl|Utils?)$")
BANNED_MODULES = frozenset({"utils", "util", "common", "misc", "data", "info", "helpers"})
# A reason behind an exception may reach beyond the margin, as ruff has it.
PRAGMA = re.compile(r"\s*# (noqa|type: ignore).*$")
# In two pieces, so that this file does not hold what it looks for.
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|HA" r"CK)\b")
FOREIGN = re.compile(
    r"(?<![\w.~-])/(?:wo"
    r"rk|ro"
    r"ot)(?:/|\b)"
    r"|--(?:extra-)?index-"
    r"url|--find-"
    r"links|/sim"
    r"ple/?\b|PIP_INDEX_"
    r"URL"
)


def product_files() -> tuple[Path, ...]:
    return files(".py", under=PRODUCT)


def test_files_functions_and_lines_keep_their_size() -> None:
    require_none(found for path in files(*CODE) for found in too_large(path))


def too_large(path: Path) -> Iterator[Finding]:
    lines = text_of(path).splitlines()
    if len(lines) > FILE_LINES_MAX and not path.name.endswith(".min.js"):
        yield Finding(path, len(lines), f"a file has at most {FILE_LINES_MAX} lines")
    for number, line in enumerate(lines, start=1):
        length = len(PRAGMA.sub("", line))
        if length > LINE_CHARACTERS_MAX:
            rule = f"a line has at most {LINE_CHARACTERS_MAX} characters, this one {length}"
            yield Finding(path, number, rule)
    for node in nodes_of(path) if path.suffix == ".py" else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                rule = f"{node.name} has {length} lines, at most {FUNCTION_LINES_MAX} are readable"
                yield Finding(path, node.lineno, rule)


@pytest.mark.parametrize("service", services())
def test_every_service_has_the_same_files(service: str) -> None:
    folder = ROOT / "services" / service
    found = {
        path.stem
        for path in folder.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    missing = [name for name in SERVICE_FILES if name not in found]
    assert not missing, f"services/{service} lacks {', '.join(missing)}"
    extra = sorted(found.difference(SERVICE_FILES))
    assert not extra, (
        f"services/{service} has {', '.join(extra)} beside the files that all services have; "
        "make them modules of one of these"
    )


def test_every_service_is_in_the_import_contracts() -> None:
    contracts = {each["id"]: each for each in pyproject()["tool"]["importlinter"]["contracts"]}
    modules = [f"services.{name}" for name in services()]

    assert sorted(contracts["layers"]["containers"]) == modules
    assert sorted(contracts["independence"]["modules"]) == modules


def test_domains_import_only_what_is_pure() -> None:
    require_none(
        Finding(path, line, f"a domain does not import {name}")
        for service in services()
        for path in files(".py", under=("services",))
        if is_in(path, f"services/{service}/domain/", f"services/{service}/domain.py")
        for line, name in imports_of(path)
        if not is_pure(name, service)
    )


def is_pure(name: str, service: str) -> bool:
    own = (f"services.{service}.domain", f"services.{service}.errors")
    return name.partition(".")[0] in sys.stdlib_module_names or any(
        name == allowed or name.startswith(f"{allowed}.") for allowed in (*DOMAIN_IMPORTS, *own)
    )


def test_no_service_imports_another() -> None:
    require_none(
        Finding(path, line, f"a service does not import another's code: {name}")
        for path in files(".py", under=("services",))
        for line, name in imports_of(path)
        if name.startswith("services.")
        and name.split(".")[1] in services()
        and name.split(".")[1] != path.relative_to(ROOT / "services").parts[0]
    )


@pytest.mark.parametrize("reserved", RESERVED, ids=lambda each: each.rule)
def test_calls_stay_where_they_belong(reserved: Reserved) -> None:
    require_none(
        Finding(path, getattr(node, "lineno", 1), reserved.rule)
        for path in product_files()
        if not is_in(path, *reserved.allowed)
        for node in nodes_of(path)
        if reserved.is_match(node)
    )


def reasons() -> Iterator[tuple[str, Finding]]:
    for path in product_files():
        for node in nodes_of(path):
            if not isinstance(node, ast.ClassDef):
                continue
            for statement in node.body:
                target, value = assigned(statement)
                if target == "reason" and isinstance(value, ast.Constant):
                    yield str(value.value), Finding(path, statement.lineno, node.name)


def assigned(statement: ast.stmt) -> tuple[str, ast.expr | None]:
    if isinstance(statement, ast.AnnAssign):
        return ast.unparse(statement.target), statement.value
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return ast.unparse(statement.targets[0]), statement.value
    return "", None


def test_every_error_reason_has_one_class() -> None:
    by_reason = defaultdict(list)
    for reason, found in reasons():
        by_reason[reason].append(found)

    require_none(
        Finding(found.path, found.line, f"{reason} is the reason of {found.rule} and of another")
        for reason, all_found in by_reason.items()
        if len(all_found) > 1
        for found in all_found
    )


def test_every_error_reason_is_asserted_by_a_test() -> None:
    asserted = {
        node.value
        for path in files(".py", under=("tests",))
        if path.name.startswith("test_")
        for node in nodes_of(path)
        if isinstance(node, ast.Constant)
    }

    require_none(
        Finding(found.path, found.line, f"no test names {reason}, the reason of {found.rule}")
        for reason, found in reasons()
        if reason not in asserted
    )


def test_no_module_is_dead() -> None:
    modules = {module_name(path): path for path in product_files()}
    reached: set[str] = set()
    waiting = [name for name, path in modules.items() if is_entry(name, path)]
    while waiting:
        name = waiting.pop()
        if name not in modules or name in reached:
            continue
        reached.add(name)
        parents = [name.rpartition(".")[0]] if "." in name else []
        waiting += [*parents, *(imported for _, imported in imports_of(modules[name]))]
        # A module may be loaded by its name, as uvicorn and `python -m` do.
        waiting += [
            str(node.value).partition(":")[0]
            for node in nodes_of(modules[name])
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]

    require_none(
        Finding(path, 1, f"nothing that runs imports {name}")
        for name, path in modules.items()
        if name not in reached
    )


def is_entry(name: str, path: Path) -> bool:
    scripts = pyproject()["project"]["scripts"].values()
    return (
        path.name == "__main__.py"
        or name in {script.partition(":")[0] for script in scripts}
        or name == "finops_sdk"
        or is_in(path, "tools/")
        or "migrations" in path.parts
    )


def test_nothing_is_left_over() -> None:
    leftovers = [
        Finding(path, number, "a leftover mark; finish it or write an issue")
        for path in files(*CODE, ".md", ".toml", ".yaml", ".yml")
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if LEFTOVER.search(line)
    ]
    stubs = [
        Finding(path, getattr(node, "lineno", 1), "a body does something")
        for path in product_files()
        for node in nodes_of(path)
        if is_stub(node)
    ]
    require_none([*leftovers, *stubs, *empty_functions()])


def is_stub(node: ast.AST) -> bool:
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Name) and node.id == "NotImplementedError"
    )


def empty_functions() -> Iterator[Finding]:
    """Yields functions that hold nothing but `...`, outside of protocols and overloads."""
    for path in product_files():
        for parent in nodes_of(path):
            if not isinstance(parent, ast.Module | ast.ClassDef) or is_protocol(parent):
                continue
            for node in parent.body:
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                is_overload = any("overload" in ast.unparse(each) for each in node.decorator_list)
                if ast.unparse(node.body[-1]) == "..." and not is_overload:
                    yield Finding(path, node.lineno, f"{node.name} does nothing")


def is_protocol(node: ast.Module | ast.ClassDef) -> bool:
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    return any(ast.unparse(base).startswith("Protocol") for base in bases)


def test_names_say_what_a_thing_is() -> None:
    modules = [
        Finding(path, 1, f"{name} says nothing about what is in it")
        for path in product_files()
        for name in path.relative_to(ROOT).with_suffix("").parts
        if name in BANNED_MODULES
    ]
    classes = [
        Finding(path, node.lineno, f"{node.name} says nothing about what it does")
        for path in product_files()
        for node in nodes_of(path)
        if isinstance(node, ast.ClassDef) and BANNED_CLASSES.search(node.name)
    ]
    require_none([*modules, *classes])


def test_every_module_says_what_it_is() -> None:
    require_none(
        Finding(path, 1, "a module says what it is")
        for path in files(".py")
        if tree_of(path).body and ast.get_docstring(tree_of(path)) is None
    )


def test_the_project_speaks_of_itself_alone() -> None:
    require_none(
        Finding(path, number, f"{found.group()!r} is of one machine, not of the project")
        for path in (*files(), ROOT / "requirements.lock")
        if path != Path(__file__)
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if (found := FOREIGN.search(line))
    )
