"""Controls: vectors that should not help, which a gain has to beat before it counts. One file a control.

Importing this room registers them; imports `vector` and `backbone`.
"""

from . import random_vector, shuffled, task_vector  # noqa: F401  # isort: skip
