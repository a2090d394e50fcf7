"""Worker threads that end by themselves, whatever happens to the code that started them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import torch

__all__ = ["Workers"]

T = TypeVar("T")

_default_changes = threading.Lock()  # a worker that starts in between would take another one's setting for the default


class Workers(Generic[T]):
    """Runs submitted functions on a few threads, each of which computes with a single PyTorch thread.

    A thread starts when there is work and ends soon after there is none, so it need not be closed: no exception,
    Ctrl-C included, leaves a thread behind.

    Args:
        count: number of threads.
        name: prefix of the threads' names.
    """

    IDLE = 0.05  # seconds without work after which a thread ends

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._tasks: deque[tuple[Future[T], Callable[..., T], tuple[Any, ...]]] = deque()
        self._changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Call ``function(*args)`` on a worker; the future holds its result or error."""
        future: Future[T] = Future()
        with self._changed:
            if len(self._threads) < self._count:
                self._start()
            self._tasks.append((future, function, args))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Drop the work that has not begun, and wait until every thread has ended."""
        with self._changed:
            self._closed = True
            for future, _, _ in self._tasks:
                future.cancel()
            self._tasks.clear()
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}")
        self._threads.add(thread)
        try:
            thread.start()
        except BaseException as error:
            self._threads.discard(thread)
            if self._threads and isinstance(error, RuntimeError):  # no more threads to be had: those there are will do
                return
            raise

    def _work(self) -> None:
        _compute_alone()
        while (task := self._next()) is not None:
            future, function, args = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)
            del task, future, function, args  # what they hold is not to live until the next one comes

    def _next(self) -> tuple[Future[T], Callable[..., T], tuple[Any, ...]] | None:
        """The next task; None when this thread is to end."""
        with self._changed:
            while not self._tasks:
                if (self._closed or not self._changed.wait(self.IDLE)) and not self._tasks:
                    self._threads.discard(threading.current_thread())
                    return None
            return self._tasks.popleft()


def _compute_alone() -> None:
    """Have the calling thread compute with one PyTorch thread, and no other thread, now or later.

    torch.set_num_threads holds for the thread that calls it, but is also the default of all that start later. A short
    thread of its own sets that default back at once: an exception in the main thread cannot come between.
    """
    with _default_changes:
        default = torch.get_num_threads()  # this thread is new: it has the default
        torch.set_num_threads(1)
        try:
            restore = threading.Thread(target=torch.set_num_threads, args=(default,))
            restore.start()
            restore.join()
        except RuntimeError:  # no more threads to be had
            torch.set_num_threads(default)
