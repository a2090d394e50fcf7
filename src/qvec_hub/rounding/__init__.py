"""Finding codes by what flows through a model, where rounding each weight to the nearest is not enough.

`feedback` (GPTQ), `fitting` and `awq` round one weight matrix by the second moments of its inputs; `blockwise` shows
images to a model layer after layer; `whole_model` and `calibration` bring both together; `tuning` follows them.
"""

from .calibration import calibrate_
from .feedback import gptq
from .whole_model import ROUNDINGS, amount_of_work, known_rounding, round_linears_

__all__ = ["ROUNDINGS", "amount_of_work", "calibrate_", "gptq", "known_rounding", "round_linears_"]
