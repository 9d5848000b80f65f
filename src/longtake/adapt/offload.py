"""Blocks whose weights wait elsewhere and visit the device one after another, the next while this one works.

Two slots on the device, each as large as one block, are filled in turn; memory does not grow with depth. On CUDA the
weights wait in pinned memory and come over a stream of their own. On the CPU they wait where they are, which for
weights mapped from a file is the disk, and one thread brings them in: a model larger than the memory runs.
Any order gives the right answer; that of `blocks`, over and over, is the one that is brought in ahead of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Carrier(Protocol):
    """Brings tensors into a slot in the background."""

    def bring(self, slot: int, source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        """Begin to copy; what `release` said of this slot is waited for first."""

    def arrive(self, slot: int) -> None:
        """Wait until the slot is filled."""

    def release(self, slot: int) -> None:
        """The work that reads the slot has been issued."""

    def close(self) -> None: ...


class ThreadCarrier:
    """For the CPU: one thread copies, and reads from the disk what is mapped from a file."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "offload")
        self._arriving: dict[int, Future[None]] = {}

    def bring(self, slot: int, source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        self._arriving[slot] = self._pool.submit(_copy, source, target)

    def arrive(self, slot: int) -> None:
        self._arriving.pop(slot).result()

    def release(self, slot: int) -> None:
        pass  # work on the CPU is done when it returns

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class StreamCarrier:
    """For CUDA: copies run on a stream of their own, ordered by events, and the host never waits."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._arrived = [torch.cuda.Event() for _ in range(2)]
        self._free = [torch.cuda.Event() for _ in range(2)]
        for event in self._free:  # the slots are allocated on the stream that works
            event.record(torch.cuda.current_stream(device))

    def bring(self, slot: int, source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        self._stream.wait_event(self._free[slot])
        with torch.cuda.stream(self._stream):
            _copy(source, target)
            self._arrived[slot].record(self._stream)

    def arrive(self, slot: int) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._arrived[slot])

    def release(self, slot: int) -> None:
        self._free[slot].record(torch.cuda.current_stream(self._device))

    def close(self) -> None:
        self._stream.synchronize()


class Offload:
    """The first `resident` blocks live on `device`; the others wait where they are and visit. For inference only.

    `close` takes the hooks off and leaves the waiting blocks where they wait.
    Raises ValueError for a wrong count, or when the waiting blocks are not alike.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        device: torch.device,
        resident: int = 0,
        carrier: Carrier | None = None,
    ) -> None:
        if not 0 <= resident <= len(blocks):
            raise ValueError(f"resident must be 0 to {len(blocks)} blocks, not {resident}")
        self._live = [_tensors(block) for block in blocks[resident:]]
        layouts = [[(t.shape, t.dtype) for t in tensors] for tensors in self._live]
        if any(layout != layouts[0] for layout in layouts):
            raise ValueError("blocks that visit must be alike: the same tensors of the same shape and dtype")
        for block in blocks[:resident]:
            block.to(device)
        self._home: list[list[Tensor]] = []
        for tensors in self._live:  # one block at a time: pinned copies replace what is mapped from a file
            home = [t.data.cpu().pin_memory() if device.type == "cuda" else t.data for t in tensors]
            self._home.append(home)
            _point(tensors, home)
        self._slots = [
            [torch.empty(shape, dtype=dtype, device=device) for shape, dtype in layout]
            for layout in layouts[:2]
        ]
        self._carrier = carrier or (StreamCarrier(device) if device.type == "cuda" else ThreadCarrier())
        self._coming: tuple[int, int] | None = None  # the block that comes, and the slot it comes into
        self._hooks: list[Any] = []
        for index, block in enumerate(blocks[resident:]):
            self._hooks.append(block.register_forward_pre_hook(self._entering(index)))
            self._hooks.append(block.register_forward_hook(self._leaving(index), always_call=True))

    @property
    def slot_bytes(self) -> int:
        """What the slots take on the device."""
        return sum(t.numel() * t.element_size() for slot in self._slots for t in slot)

    def close(self) -> None:
        """Take the hooks off and free the slots. Twice is the same as once."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._carrier.close()
        for tensors, home in zip(self._live, self._home, strict=True):
            _point(tensors, home)
        self._slots = []

    def _bring(self, index: int, slot: int) -> None:
        self._coming = (index, slot)
        self._carrier.bring(slot, self._home[index], self._slots[slot])

    def _entering(self, index: int) -> Callable[..., None]:
        def enter(block: nn.Module, inputs: Any) -> None:
            if (
                self._coming is None or self._coming[0] != index
            ):  # the first time, or after an interrupted pass
                if self._coming is not None:
                    self._carrier.arrive(self._coming[1])
                self._bring(index, 0)
            assert self._coming is not None
            slot = self._coming[1]
            self._carrier.arrive(slot)
            self._coming = None
            _point(self._live[index], self._slots[slot])
            self._using = slot
            if len(self._slots) > 1:  # the other slot is free: the block before this one has left it
                self._bring((index + 1) % len(self._live), 1 - slot)

        return enter

    def _leaving(self, index: int) -> Callable[..., None]:
        def leave(block: nn.Module, inputs: Any, output: Any) -> None:
            if self._live[index][0].data_ptr() != self._home[index][0].data_ptr():
                self._carrier.release(self._using)
                _point(self._live[index], self._home[index])

        return leave


@contextmanager
def visiting(module: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """A module on the device for as long as it is needed, then back where it came from."""
    home = next(module.parameters()).device
    module.to(device)
    try:
        yield module
    finally:
        module.to(home)
        if device.type == "cuda" and home != device:
            torch.cuda.empty_cache()


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _point(tensors: Sequence[Tensor], storage: Sequence[Tensor]) -> None:
    """Let these parameters and buffers have their values there."""
    for tensor, value in zip(tensors, storage, strict=True):
        tensor.data = value


def _copy(source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
    for one, other in zip(source, target, strict=True):
        other.copy_(one, non_blocking=True)
