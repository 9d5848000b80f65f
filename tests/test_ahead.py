"""Items come in order, a bounded number ahead; errors and closing pass between the threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from longtake.ahead import ahead


def test_items_are_made_while_those_before_them_are_used_but_not_too_many() -> None:
    begun: list[int] = []

    def make() -> Iterator[int]:
        for number in range(20):
            begun.append(number)
            yield number

    got = []
    for item in ahead(make, 3):
        time.sleep(0.01)
        got.append(item)
        assert len(begun) <= item + 1 + 3 + 1
    assert got == list(range(20))


def test_an_error_comes_out_after_what_was_made_before_it() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    items = ahead(make, 4)
    assert next(items) == 1
    with pytest.raises(ValueError, match="no more"):
        next(items)


def test_closing_ends_the_maker() -> None:
    ended = threading.Event()

    def make() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    items = ahead(make, 2)
    next(items)
    items.close()
    assert ended.wait(5)
