"""Fit the tables of trellis codes to normally distributed weights, and measure what they lose.

Lloyd's algorithm with the Viterbi algorithm in the place of the nearest level: codes are found for columns of normal
deviates, then each state's level becomes the mean of the numbers that took it. It starts from the quantiles of the
normal distribution, in an order drawn at random, in which the codes of a state stand for levels far apart. The best of
several starts is kept, as integers from -127 to 127. Beside it: the least squared error of as many fixed levels
(Lloyd-Max), and the rate-distortion bound ``fan**-2``.

    python benchmarks/trellis_tables.py                 # measure the tables of the package
    python benchmarks/trellis_tables.py --fit --write   # fit them anew, about an hour
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from _machine import environment, write_result
from qvec_hub.grid.trellis import levels as levels_module
from qvec_hub.grid.trellis import search as module
from qvec_hub.grid.trellis.levels import FANS
from qvec_hub.grid.trellis.search import best_paths

STATES = {3: 243, 4: 256, 8: 512}
ROWS = 768
TABLES = Path(levels_module.__file__).with_name("tables.json")


def start(fan: int, seed: int) -> np.ndarray:
    """Quantiles of the normal distribution; the codes of a group of states lie in different parts of it."""
    states = STATES[fan]
    quantiles = torch.distributions.Normal(0, 1).icdf((torch.arange(states) + 0.5) / states).view(fan, -1)
    random = np.random.default_rng(seed)
    columns = np.stack([part[random.permutation(len(part))] for part in quantiles.numpy()], axis=1)
    return random.permuted(columns, axis=1).reshape(-1).astype(np.float32)


def normal(columns: int, seed: int) -> torch.Tensor:
    return torch.randn(columns, ROWS, generator=torch.Generator().manual_seed(seed))


def states_of(codes: np.ndarray, fan: int, states: int) -> np.ndarray:
    """The state of every code ``(columns, rows)``."""
    found, above = codes.astype(np.int32), 1
    while fan**above < states:
        found[:, above:] += codes[:, :-above].astype(np.int32) * fan**above
        above += 1
    return found


def fit(fan: int, seed: int, rounds: int, columns: int) -> tuple[float, np.ndarray]:
    """A table of levels for a standard deviation of 1, and its mean squared error on numbers it was not fitted to."""
    table = start(fan, seed)
    for number in range(rounds):
        numbers = normal(columns, 1000 * seed + number + 1)
        states = states_of(search(numbers, table, fan)[0], fan, len(table)).reshape(-1)
        count = np.bincount(states, minlength=len(table))
        total = np.bincount(states, numbers.numpy().reshape(-1), minlength=len(table))
        table = np.where(count > 20, total / np.maximum(count, 1), table).astype(np.float32)
    return loss(table, fan), table


def search(numbers: torch.Tensor, table: np.ndarray, fan: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Codes and levels of numbers, by a table that is not the package's."""
    before, module._by_code = module._by_code, lambda fan: table.reshape(-1, fan).T.copy()
    try:
        codes, levels = best_paths(numbers, torch.full_like(numbers, scale), fan)
    finally:
        module._by_code = before
    return codes.numpy(), levels.numpy()


def loss(table: np.ndarray, fan: int, scale: float = 1.0) -> float:
    numbers = normal(1000, 0)
    return float(np.square(numbers.numpy() - scale * search(numbers, table, fan, scale)[1]).mean())


def lloyd_max(fan: int) -> float:
    """The least mean squared error of `fan` fixed levels."""
    numbers = normal(1000, 0).reshape(-1).double()
    levels = torch.linspace(-1.5, 1.5, fan, dtype=torch.float64)
    for _ in range(200):
        code = torch.bucketize(numbers, (levels[1:] + levels[:-1]) / 2)
        levels = torch.zeros_like(levels).index_add_(0, code, numbers) / torch.bincount(code, minlength=fan)
    return float((numbers - levels[code]).square().mean())


def fitted(fan: int, starts: int, rounds: int, columns: int) -> dict[str, object]:
    """The best table of several starts, as it is stored."""
    found = []
    for seed in range(starts):
        found.append(fit(fan, seed, rounds, columns))
        print(f"{fan} codes, start {seed}: {found[-1][0]:.5f}", flush=True)
    table = min(found, key=lambda each: each[0])[1]
    unit = 127 / float(np.abs(table).max())
    return {"deviation": round(unit, 4), "levels": np.rint(table * unit).astype(int).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit tables anew")
    parser.add_argument("--write", action="store_true", help="store the fitted tables in the package")
    parser.add_argument("--fan", type=int, action="append", choices=FANS)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--columns", type=int, default=1500, help=f"of {ROWS} numbers, drawn anew every round")
    args = parser.parse_args()
    tables = json.loads(TABLES.read_text()) if TABLES.is_file() else {}
    if args.fit:
        tables |= {str(fan): fitted(fan, args.starts, args.rounds, args.columns) for fan in args.fan or FANS}
        if args.write:
            TABLES.write_text(json.dumps(tables) + "\n")
    losses = {}
    for fan in FANS if args.write else args.fan or FANS:
        table, unit = np.asarray(tables[str(fan)]["levels"], np.float32), 1 / tables[str(fan)]["deviation"]
        losses[fan] = {
            "states": len(table),
            "trellis": round(loss(table, fan, unit), 5),
            "fixed levels": round(lloyd_max(fan), 5),
            "bound": round(fan**-2, 5),
        }
        print(fan, "codes:", losses[fan], flush=True)
    if not args.fit or args.write:
        write_result("trellis_tables", {"mean squared error of a standard normal": losses} | environment())


if __name__ == "__main__":
    main()
