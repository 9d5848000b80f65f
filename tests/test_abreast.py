"""Work in threads comes back in order, a bounded number ahead, and torch's threads are as before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from longtake.provenance.abreast import abreast, undivided


def test_results_come_in_order_and_not_too_far_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(12):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        time.sleep(0.02 * (number % 3 == 0))
        return number * number

    for number, result in enumerate(abreast(work, items(), 3)):
        assert result == number * number and len(taken) <= number + 4
    assert list(abreast(work, range(5), 1)) == [0, 1, 4, 9, 16]


def test_two_run_at_once_each_undivided() -> None:
    both = threading.Barrier(2, timeout=10)  # one after the other would wait here for ever
    torch.set_num_threads(2)
    try:
        assert list(abreast(lambda _: both.wait() >= 0 and torch.get_num_threads(), range(2), 2)) == [1, 1]
        with undivided():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_an_error_comes_out_in_its_place() -> None:
    results = abreast(lambda number: 6 // (2 - number), range(4), 2)
    assert [next(results), next(results)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
