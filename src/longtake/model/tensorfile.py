"""Safetensors files, written whole or not at all and read strictly."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from longtake.errors import OutputError, WeightsError

NAMED = 3
"""As many tensors as a message names."""


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write beside, fsync, rename: a reader sees the old file or the new one, never half of one."""
    beside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in tensors.items()}, beside, dict(metadata)
        )
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        beside.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error}; free some space or choose another folder"
        ) from error


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors (on the CPU) and the header's metadata. Raises WeightsError on a damaged file."""
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in list(file.keys())}, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read {path}: {error}; remove it to start afresh") from error


class _Silent(TorchFunctionMode):
    """Initialisers leave tensors as they are."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.normal_ or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules made in here have shapes and no values, and wait for a file's: no time, no memory.

    On the meta device alone, normal numbers would be drawn by PyTorch's compiler: a second and 80 MB to import it.
    """
    with torch.device("meta"), _Silent():
        yield


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load all of `state` into all of `module`, or say which key does not fit."""
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{path} was written by another configuration: {str(error).splitlines()[-1].strip()}"
        ) from error


def misfit(expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]]) -> str:
    """What keeps tensors of these shapes from being exactly the expected ones, the first few named; "" for nothing."""
    problems = {
        "missing": [key for key in expected if key not in found],
        "unexpected": [key for key in found if key not in expected],
        "of another shape": [
            f"{key} {list(found[key])} instead of {list(shape)}"
            for key, shape in expected.items()
            if key in found and tuple(found[key]) != tuple(shape)
        ],
    }
    for what, keys in problems.items():
        if keys:
            return f"{len(keys)} tensors are {what}: {', '.join(keys[:NAMED])}{' ...' * (len(keys) > NAMED)}"
    return ""
