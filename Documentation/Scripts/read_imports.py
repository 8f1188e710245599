"""Read which module of this repository imports which, without importing any of them."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("NNMambaLib", "NNMambaBrainModels")
MODULES = ("NNMamba", "NNMambaSegment", "NNMambaLandmarks", "NNMambaClassify")


@dataclass(frozen=True)
class Import:
    """One imported name's module.

    Attributes:
        importer: dotted name of the module with the import statement.
        imported: dotted name of the module that it imports, also of other distributions.
        inside: whether the statement stands inside a function.
    """

    importer: str
    imported: str
    inside: bool


def module_paths(tree: Path) -> dict[str, Path]:
    """Return the path of each module of the packages, and of Slicer's modules, by dotted name."""
    paths = {}
    for package in PACKAGES:
        for path in sorted((tree / "NNMamba" / package).rglob("*.py")):
            parts = path.relative_to(tree / "NNMamba").with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    for module in MODULES:
        paths[module] = tree / module / f"{module}.py"
    return paths


def read_imports(tree: Path) -> list[Import]:
    """Return every import in the repository's library and modules; ones under ``TYPE_CHECKING`` count as others do."""
    paths = module_paths(tree)
    found = []
    for importer, path in paths.items():
        for name, attribute, inside in _statements(ast.parse(path.read_text(encoding="utf-8")), False):
            submodule = f"{name}.{attribute}"
            found.append(Import(importer, submodule if submodule in paths else name, inside))
    return found


def _statements(node: ast.AST, inside: bool) -> Iterator[tuple[str, str, bool]]:
    """Yield module, attribute ("" for ``import module``) and whether it is inside a function, for each name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, "", inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "This repository has no relative imports."
            yield from ((child.module or "", alias.name, inside) for alias in child.names)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _statements(child, inside or is_function)


def room_of(module: str, paths: dict[str, Path]) -> str:
    """Return the room of a module: its folder's dotted name; a file in the library's root is a room of its own."""
    if module in MODULES:
        return "modules"
    if paths[module].name == "__init__.py" or module.rpartition(".")[0] == "NNMambaLib":
        return module
    return module.rpartition(".")[0]


def drawn_modules(tree: Path) -> dict[str, Path]:
    """Return `module_paths` without the library's version and without files that only hand on a former name."""
    paths = module_paths(tree)
    former = '"""The former name of'
    return {
        module: path
        for module, path in paths.items()
        if module != "NNMambaLib" and not path.read_text(encoding="utf-8").startswith(former)
    }


def arrows_between_rooms(tree: Path) -> dict[tuple[str, str], int]:
    """Return how many imports lead from a room to another, of the modules that are drawn."""
    paths, counts = drawn_modules(tree), defaultdict(int)
    for each in set(read_imports(tree)):
        if each.importer in paths and each.imported in paths:
            arrow = room_of(each.importer, paths), room_of(each.imported, paths)
            if arrow[0] != arrow[1]:
                counts[arrow] += 1
    return dict(counts)


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of names that lead to one another (strongly connected, more than one), by Tarjan's algorithm."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for target in sorted(arrows.get(name, ())):
            if target not in order:
                visit(target)
                lowest[name] = min(lowest[name], lowest[target])
            elif target in stack:
                lowest[name] = min(lowest[name], order[target])
        if lowest[name] == order[name]:
            start = stack.index(name)
            if len(stack) - start > 1:
                found.append(set(stack[start:]))
            del stack[start:]

    for name in sorted(arrows):
        if name not in order:
            visit(name)
    return found
