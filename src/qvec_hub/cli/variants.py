"""The registered variants for help texts, read without importing torch, so that help appears at once.

The names and one-line descriptions stand in the decorators of the variants' files, as plain text. They are read from
the source, so a new variant of this package is in the help as soon as its file is there.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

__all__ = ["choices", "described"]

PACKAGE = Path(__file__).parents[1]
HOMES = {  # decorator -> the folder with the variants' files
    "encoding": "artifact/encodings",
    "scale_rule": "grid/scale_rules",
    "rounding": "rounding/methods",
    "merge_method": "vector/merge_methods",
    "exporter": "interop/exporters",
    "recipe": "training/recipes",
}


@cache
def described(decorator: str) -> dict[str, str]:
    """Name -> one-line description of every variant that this package registers with a decorator, in order."""
    folder = PACKAGE / HOMES[decorator]
    imports = [node for node in _nodes(folder / "__init__.py") if isinstance(node, ast.ImportFrom) and node.level == 1]
    found: dict[str, str] = {}
    for module in [alias.name for node in imports for alias in node.names]:
        for node in _nodes(folder / f"{module}.py"):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == decorator:
                name, about = (ast.literal_eval(argument) for argument in node.args[:2])
                found[name] = about
    return found


def _nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def choices(decorator: str) -> str:
    """All names and descriptions on one line: ``nearest (each weight to the nearest value of the grid), gptq (…)``."""
    return "; ".join(f"{name} ({about})" for name, about in described(decorator).items())
