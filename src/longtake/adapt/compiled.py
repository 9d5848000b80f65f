"""Compile the repeated block, not the network: all blocks share one graph a shape, for a tenth of the wait."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

SHAPES = 32
"""Shapes (images, clips, slotted clips of every size) that may be compiled before PyTorch gives up."""


def compile_blocks(blocks: Iterable[nn.Module], dynamic: bool | None = False) -> None:
    """Compile the forward of each of these alike blocks; hooks stay outside and run as they are.

    With `dynamic=None` PyTorch compiles the second shape for all that follow: slower code, fewer waits.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES)
    torch._dynamo.config.skip_nnmodule_hook_guards = False  # an adapter may be put on or taken off later
    for block in blocks:
        block.forward = torch.compile(block.forward, dynamic=dynamic)
