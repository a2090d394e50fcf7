"""Progress of a run on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback
from transformers.utils import logging

__all__ = ["on_terminal", "quiet_transformers", "report_progress"]


def on_terminal() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr.isatty()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' bars for each load and save, and its reports of a new head, which is intended."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def report_progress(trainer: Trainer) -> None:
    """Replace the Trainer's own reporters: they print to stdout, which belongs to results."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Lines() if trainer.args.disable_tqdm else Bar())


class Bar(ProgressCallback):
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and self.training_bar is not None and "loss" in logs:
            self.training_bar.set_description(args.run_name)
            self.training_bar.set_postfix_str(f"loss {logs['loss']:.4f}")


class Lines(TrainerCallback):
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and "loss" in logs:
            print(
                f"{args.run_name}: step {state.global_step} of {state.max_steps}, epoch {logs['epoch']:.2f}, "
                f"loss {logs['loss']:.4f}",
                file=sys.stderr,
                flush=True,
            )
