"""Finding codes by what flows through a model, where rounding each weight to the nearest is not enough.

`feedback` (GPTQ), `fitting` and `awq` round one weight matrix by the second moments of its inputs; `blockwise` shows
images to a model layer after layer; `whole_model` and `calibration` bring both together; `tuning` follows them.

One model, grid and set of images give the same codes and scales on one machine with one number of threads. Sums over
images come out differently in their last bits elsewhere, and with them scales; a code differs where two are as good.
"""

from ..bench.baselines.calibrate import calibrate_
from .gptq import gptq
from .round_model import ROUNDINGS, amount_of_work, known_rounding, round_linears_

__all__ = ["ROUNDINGS", "amount_of_work", "calibrate_", "gptq", "known_rounding", "round_linears_"]
