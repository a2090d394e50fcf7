"""Four random letters: which script are they of?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..fonts import atlas
from ..registry import Batch, task

__all__ = ["SCRIPTS", "scripts"]

# Letters without combining marks, and none that another of these scripts or the base's pretraining also has.
SCRIPTS = {
    "greek": "αβγδεζηθλμξπρσφχψω",
    "arabic": "ابتجدرسصطعفقكلمنهوي",
    "lao": "ກຂຄງຈຊຍດຕຖທນບປຜຝພຟມຢຣລວສຫອຮ",
    "n'ko": "ߊߋߌߍߎߏߐߒߓߔߕߖߗߘߙߚߛߜߝߞߟߠߡߢߣߤߥߦߧ",
    "tifinagh": "ⴰⴱⴳⴷⴹⴻⴼⴽⵀⵃⵄⵅⵇⵊⵍⵎⵏⵓⵔⵖⵙⵚⵛⵜⵟⵡⵢⵣⵥ",
    "ogham": "ᚁᚂᚃᚄᚅᚆᚇᚈᚉᚊᚋᚌᚍᚎᚏᚐᚑᚒᚓᚔ",
    "syllabics": "ᐁᐃᐅᐊᐯᐱᐳᐸᑌᑎᑐᑕᑫᑭᑯᑲᒉᒋᒍᒐᒣᒥᒧᒪᓀᓂᓄᓇᓭᓯᓱᓴᔦᔨᔪᔭ",
}
SCRIPT_FACES = ("DejaVuSans", "DejaVuSans-Bold")  # the others lack some of them
SIDE = 2  # letters a row, rows an image


@task("scripts", tuple(SCRIPTS), "Four letters at random: which of seven scripts they belong to")
def scripts(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(SCRIPTS), rng)
    alphabet = atlas(tuple("".join(SCRIPTS.values())), size, SCRIPT_FACES)
    sizes = np.array([len(letters) for letters in SCRIPTS.values()])
    first = np.cumsum(sizes) - sizes
    angle = rng.uniform(-0.12, 0.12, n)
    face, letter = (
        rng.integers(len(SCRIPT_FACES), size=n),
        first[labels] + rng.integers(sizes[labels], size=(SIDE**2, n)),
    )
    shift, scale = rng.uniform(-0.16, 0.16, (SIDE**2, n, 2)), rng.uniform(1.16, 1.4, (SIDE**2, n))
    masks = np.empty((n, size, size), dtype=np.float32)
    tile = 2 * size // SIDE
    for part in canvas.chunks(n, size):
        fine = np.empty((part.stop - part.start, 2 * size, 2 * size), dtype=np.float32)
        for place in range(SIDE**2):
            rows, columns = (slice(tile * k, tile * k + tile) for k in divmod(place, SIDE))
            letters = alphabet[letter[place, part], face[part]]
            fine[:, rows, columns] = canvas.warp(letters, angle[part], scale[place, part], shift[place, part], tile)
        masks[part] = canvas.shrink(fine)
    return canvas.coloured(masks, rng, noise=0.04, clutter=0.04), labels
