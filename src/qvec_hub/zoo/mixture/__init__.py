"""What the zoo's bases are pretrained on: a little of everything, and nothing of any task of the zoo.

Letters of scripts that are not among the tasks, figures, surfaces and scenes. As ImageNet-21k does for the usual
ViTs, the mixture teaches what many tasks need: fine-tuned models then stay near their base, and near each other.
"""

from .parts import CLASSES, draw_mixture

__all__ = ["CLASSES", "draw_mixture"]
