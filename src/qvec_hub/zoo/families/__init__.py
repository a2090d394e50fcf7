"""One module a family of tasks. Importing them registers them, in the order below."""

from . import digits, glyphs, textures, distortions, shapes, counting, gratings, colours, typefaces  # noqa: F401  # isort: skip
from . import photographs, intruders, pictograms, scripts, braille, clocks, relations, shading, tilings, curves, flags  # noqa: F401  # isort: skip
