"""What is made a little ahead of its use, in a thread of its own: drawing and encoding overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


def ahead(make: Callable[[], Iterator[T]], items: int) -> Generator[T, None, None]:
    """The same items, at most `items` of them made before they are asked for. Errors come out where they would;
    closing ends the maker before its next item."""
    made: queue.Queue[tuple[T, None] | tuple[None, BaseException] | None] = queue.Queue(items)
    stop = threading.Event()

    def put(item: tuple[T, None] | tuple[None, BaseException] | None) -> bool:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for each in make():
                if not put((each, None)):
                    return
            put(None)
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            each, error = item
            if error is not None:
                raise error
            yield each  # type: ignore[misc]  # one of the two is there
    finally:
        stop.set()
        thread.join()
