"""``qvec demo``: the whole method on this machine, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, emit, note, print_table
from .options import AsJson

__all__ = ["demo"]


@app.command(epilog="Example: qvec demo --out demo_output")
def demo(
    out: Annotated[Path, typer.Option(help="A new folder for models, vectors, rows and a figure.")] = Path(
        "demo_output"
    ),
    weights: Annotated[str, typer.Option(help="The grid of donors and receivers.")] = "int2-channel-absmax",
    hub: Annotated[
        str | None,
        typer.Option(help="Publish models and vectors under this name on the Hub, and load them from there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train small donors, apply their vectors to each other's tasks at 2 bits, and count the accuracy.

    Needs no network and no GPU; takes a few minutes on two cores.
    """
    import time

    from ..bench.runner import ROWS_FILE
    from ..demo.report import HEADER, draw, table
    from ..demo.run import demo_suite, remove_demo, run_demo
    from ..errors import QVecError
    from ..util.scratch import check_writable

    check_writable(out)
    suite = demo_suite(weights)
    if out.exists():
        if not out.is_dir():
            raise QVecError(f"{out}: is a file; name a new folder with --out")
        if any(out.iterdir()) and not (out / MARK).exists():
            raise QVecError(f"{out}: is not empty and not of an earlier demo; name a new folder with --out")
        remove_demo(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    start = time.perf_counter()
    rows = run_demo(suite, out, note, hub)
    figure = out / "accuracy_against_scale.png"
    draw(rows, figure)
    seconds = time.perf_counter() - start
    if as_json:
        found = {"weights": weights, "seconds": seconds, "picture": str(figure)}
        emit({**found, "rows": [row.to_dict() for row in rows]}, "", True)
        return
    print_table(f"Accuracy on test images, weights at {weights}", HEADER, table(rows))
    print(
        f"One donor: the vectors of the other {len(suite.tasks) - 1} tasks, one at a time, pooled. Scale 1 throughout, "
        "but for the default: all other vectors, with scale and codes found on the images that they carry. No receiver "
        f"image was used for any of it but own QAT.\nFigure: {figure}\nRows: {out / ROWS_FILE}\n{seconds:.0f} seconds"
    )


MARK = ".qvec-demo"  # marks a folder that another demo may replace
