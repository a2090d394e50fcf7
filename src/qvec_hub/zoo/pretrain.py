"""Make a base of the zoo again: ten minutes on two CPU cores for the smallest, an hour for the largest.

python -m qvec_hub.zoo.pretrain --base base-xs --out base-xs
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .base import BASES
from .pretraining import make_base

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Pretrain one base and print its accuracy; `arguments` are the command line's by default."""
    parser = argparse.ArgumentParser(prog="python -m qvec_hub.zoo.pretrain", description="Make a base ViT of the zoo.")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--base", choices=list(BASES), default="base-s", help="which one (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="optimizer steps (default: as many as the bundled base took)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    accuracy = make_base(options.out, options.base, steps=options.steps, seed=options.seed)
    print(f"{options.out}: accuracy {accuracy:.3f} on held-out images of the mixture")


if __name__ == "__main__":
    main()
