"""Small image classification tasks and a tiny ViT: everything offline, made or bundled here.

The 22 tasks are drawn from code, from fonts that ship in matplotlib, from scans and photographs in
scikit-learn and from photographs in scikit-image; the ViT is pretrained on a separate mixture (`make_base`).
"""

from ..util.extras import require_extra

require_extra("bench", "the zoo")

from . import families  # noqa: E402, F401 — importing it registers the tasks
from .base import BASES, base_path  # noqa: E402
from .dataset import load_task, load_task_split  # noqa: E402
from .pretraining import make_base  # noqa: E402
from .registry import SPLITS, ZOO, Task, arrays, dataset_name, get_task, parse_dataset, tasks  # noqa: E402
from .sheet import contact_sheet  # noqa: E402

__all__ = [
    "BASES",
    "SPLITS",
    "ZOO",
    "Task",
    "arrays",
    "base_path",
    "contact_sheet",
    "dataset_name",
    "get_task",
    "load_task",
    "load_task_split",
    "make_base",
    "parse_dataset",
    "tasks",
]
