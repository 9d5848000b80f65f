"""Independent pieces of work, several at once, each on one thread.

What a detector computes with is small, and torch's own threads lose on it: each waits for the others at every
operation, on a busy machine thirty times as long as one alone takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 4
"""Pieces at once: each holds some ten megabytes, and reading the file is soon what is waited for."""


def cores() -> int:
    """How many pieces may run at once: as many as torch has threads, which OMP_NUM_THREADS bounds."""
    return min(MOST, torch.get_num_threads())


@contextmanager
def undivided() -> Iterator[None]:
    """The calling thread computes alone meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def abreast(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`work(item)` of each item, in their order, at most `workers` further than asked for. Items are taken on the
    calling thread; an error comes out in the place of its result."""
    if workers <= 1:
        yield from map(work, items)
        return
    own = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "abreast", torch.set_num_threads, (1,))
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(own)  # what a worker sets also holds for threads that begin later
