"""Imports go one way: a folder imports only folders below it, and the core knows no backend by name."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import dinox_mcp

PACKAGE = Path(dinox_mcp.__file__).parent
LAYERS = [
    ["__init__", "__main__"],  # the public names, and the start of the command line
    ["cli"],
    ["server", "doctor", "evaluation"],
    ["install", "viewer"],
    ["detector"],
    ["video", "batch", "compare"],
    ["detect"],
    ["export"],
    ["drawing"],
    ["store"],
    ["backends"],
    ["images"],
    ["types"],
    ["settings"],
    ["errors"],
]
"""From top to bottom. A module imports from its own folder and from layers below it; folders of one layer are apart."""
LAYER_OF = {folder: number for number, folders in enumerate(LAYERS) for folder in folders}
BACKENDS = {path.name for path in (PACKAGE / "backends").iterdir() if (path / "__init__.py").exists()}
MAY_NAME_BACKENDS = {"cli", "doctor", "backends"}
"""`pull` fetches models of the local backend and `doctor` examines each installed backend."""


@cache
def modules() -> list[tuple[Path, str]]:
    return [(path, path.relative_to(PACKAGE).parts[0].removesuffix(".py")) for path in sorted(PACKAGE.rglob("*.py"))]


@cache
def imports(path: Path) -> list[tuple[int, list[str]]]:
    return list(_imports(path))


def _imports(path: Path) -> Iterator[tuple[int, list[str]]]:
    """List the imports of the package's own modules, also those in functions and for type checkers."""
    for node in _statements(ast.parse(path.read_text(encoding="utf-8")).body):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "dinox_mcp" and parts[1:] not in ([], ["__version__"]):
                yield node.lineno, parts[1:]


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """List statements with those inside of them; expressions hold no imports, and most nodes are expressions."""
    for node in body:
        yield node
        for part in ("body", "orelse", "handlers", "finalbody", "cases"):
            yield from _statements(getattr(node, part, ()))


@pytest.mark.parametrize("folder", sorted({folder for _, folder in modules()}))
def test_a_folder_imports_only_what_is_below_it(folder: str) -> None:
    upward = [
        f"{path.relative_to(PACKAGE)}:{line} imports {'.'.join(target)}"
        for path, own in modules()
        if own == folder
        for line, target in imports(path)
        if target[0] != folder and LAYER_OF[target[0]] <= LAYER_OF[folder]
    ]
    assert not upward


def test_only_commands_and_backends_themselves_know_a_backend_by_its_module() -> None:
    known = [
        f"{path.relative_to(PACKAGE)}:{line} imports {'.'.join(target)}"
        for path, own in modules()
        if own not in MAY_NAME_BACKENDS
        for line, target in imports(path)
        if target[0] == "backends" and target[1] in BACKENDS
    ]
    assert {"dinox", "embedded", "local"} <= BACKENDS
    assert not known


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_a_backend_knows_no_other(backend: str) -> None:
    others = [
        f"{path.relative_to(PACKAGE)}:{line} imports {'.'.join(target)}"
        for path, _ in modules()
        if path.is_relative_to(PACKAGE / "backends" / backend)
        for line, target in imports(path)
        if target[0] == "backends" and target[1] in BACKENDS - {backend}
    ]
    assert not others
