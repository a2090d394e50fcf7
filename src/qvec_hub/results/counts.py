"""The result of an evaluation: exact counts and the versions they were counted with."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..version import __version__

__all__ = ["EvalResult", "library_versions"]

LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "evaluate", "optimum-quanto", "pillow")


@dataclass(frozen=True)
class EvalResult:
    """Exact counts over `n` images; the shares `top1`, `top5` and `agreement`, from 0 to 1, follow from them.

    Attributes:
        n: number of images.
        correct: images whose predicted class is right.
        correct_top5: images whose class is among the five largest logits; None for fewer than five classes.
        agreed: images on which model and reference predict the same class; None without a reference.
        split: the dataset's split, None if unknown.
        wall_s: seconds from the first image read to the last one counted, without loading the model.
        image_backend: ``"pil"``, ``"torchvision"`` or ``"custom"``.
        device: name of the device that counted.
        versions: installed versions by library.
    """

    n: int
    correct: int
    correct_top5: int | None
    agreed: int | None
    split: str | None
    wall_s: float
    image_backend: str
    device: str
    versions: dict[str, str]

    @property
    def top1(self) -> float:
        """Share of images whose predicted class is right."""
        return self.correct / self.n

    @property
    def top5(self) -> float | None:
        """Share of images whose class is among the five largest logits; None for fewer than five classes."""
        return None if self.correct_top5 is None else self.correct_top5 / self.n

    @property
    def agreement(self) -> float | None:
        """Share of images on which model and reference agree; None without a reference."""
        return None if self.agreed is None else self.agreed / self.n

    def to_dict(self) -> dict[str, Any]:
        """Counts, shares and circumstances, ready for JSON."""
        return asdict(self) | {"top1": self.top1, "top5": self.top5, "agreement": self.agreement}


def library_versions() -> dict[str, str]:
    """The installed versions that counts may depend on."""
    found = {"qvec_hub": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
