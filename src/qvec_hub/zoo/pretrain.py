"""Make the zoo's base again, about five minutes on two CPU cores:

python -m qvec_hub.zoo.pretrain --out base-s
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .pretraining import make_base

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m qvec_hub.zoo.pretrain", description="Make the zoo's base ViT.")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=2400, help="optimizer steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    accuracy = make_base(options.out, steps=options.steps, seed=options.seed)
    print(f"{options.out}: accuracy {accuracy:.3f} on held-out pictures of the mixture")


if __name__ == "__main__":
    main()
