"""Options that commands share, said once: a function with parameters becomes options of every command that takes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

R = TypeVar("R")


def takes(shared: Callable[..., Any]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """The parameters of `shared` become options of the command, and what it makes of them the command's `how`."""

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        own = inspect.signature(command, eval_str=True)
        added = inspect.signature(shared, eval_str=True).parameters

        @wraps(command)
        def run(**given: Any) -> R:
            how = shared(**{name: given.pop(name) for name in added})
            return command(how=how, **given)

        kept = [parameter for name, parameter in own.parameters.items() if name != "how"]
        merged = own.replace(parameters=[*kept, *added.values()])
        run.__signature__ = merged  # type: ignore[attr-defined]
        run.__annotations__ = {name: p.annotation for name, p in merged.parameters.items()}
        return run

    return decorate
