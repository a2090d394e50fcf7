"""The registry of layouts, and what a layout consists of."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ...errors import MisfitError
from ...util.registry import Registry

__all__ = ["LAYOUTS", "Layout", "Row", "Shapes", "detect"]

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Row:
    """One rename. In names, ``{i}`` and ``{j}`` stand for a number, ``{p}`` for ``weight`` or ``bias``.

    Attributes:
        theirs: the other library's name.
        ours: canonical names; with several of them, the tensor holds their rows one below the other.
        gain: a vector, if the checkpoint has it, that multiplies the rows (LayerScale). Folding it in is exact, because
            ``γ · (W x + b) = (γ W) x + γ b``, and it changes only the scale and sign of each row.
        adjust: changes the tensor's shape; None leaves it.
    """

    theirs: str
    ours: tuple[str, ...]
    gain: str | None = None
    adjust: Callable[[Any], Any] | None = None


@cache
def matching(name: str) -> re.Pattern[str]:
    """The expression for names like `name`, with a group for each placeholder."""
    text = re.escape(name)
    for placeholder, accepted in (("i", r"\d+"), ("j", r"\d+"), ("p", "weight|bias")):
        text = text.replace(rf"\{{{placeholder}\}}", f"(?P<{placeholder}>{accepted})")
    return re.compile(text)


@dataclass(frozen=True)
class Layout:
    """The tensors of one family of models as another library keeps them.

    Attributes:
        name, about: for messages and ``--help``.
        model_type: of transformers.
        rows: the renames.
        anchors: names that every such checkpoint has; by them it is recognized, with any prefix before all of them.
        head: placeholders of head tensors, which a vector leaves out.
        ignored: placeholders of tensors without weights of the backbone, such as constants and pretraining's tokens.
        homeless: placeholder -> why the model has no place for such a tensor; such a checkpoint is refused.
        config: canonical shapes and a number of attention heads (None: the usual one) -> the transformers config.
    """

    name: str
    about: str
    model_type: str
    rows: tuple[Row, ...]
    anchors: tuple[str, ...]
    config: Callable[[Shapes, int | None], Any]
    head: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    homeless: Mapping[str, str] = field(default_factory=dict)

    @property
    def cuts(self) -> bool:
        """Whether it keeps in one tensor what transformers keeps in several."""
        return any(len(row.ours) > 1 for row in self.rows)

    def prefix(self, names: Collection[str]) -> str | None:
        """What stands before all names of the backbone, such as ``"model."``; None when it is another layout."""
        first, *others = self.anchors
        there = set(names)
        ending = sorted((name for name in there if name.endswith(first)), key=len)
        for prefix in (name.removesuffix(first) for name in ending):
            if (not prefix or prefix.endswith(".")) and all(prefix + other in there for other in others):
                return prefix
        return None


LAYOUTS: Registry[Layout] = Registry("layout", MisfitError)


def detect(names: Collection[str], said: str) -> tuple[Layout, str]:
    """Find the layout of a checkpoint, and the prefix of its names.

    Args:
        names: of its tensors.
        said: what messages call it.

    Raises:
        MisfitError: when no layout fits; the message names some of the tensors and the layouts there are.
    """
    for layout in LAYOUTS:
        prefix = layout.prefix(names)
        if prefix is not None:
            return layout, prefix
    shown = ", ".join(sorted(names)[:4]) + (", …" if len(names) > 4 else "")
    known = "; ".join(f"{layout.name}: {layout.about}" for layout in LAYOUTS)
    raise MisfitError(
        f"{said}: its {len(names)} tensors ({shown}) are of no architecture that can be translated; expected one of "
        f"{known}"
    )
