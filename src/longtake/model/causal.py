"""A block-causal transformer (Self-Forcing, LongLive and their like) made to look like one for whole windows.

What is known of a window was made before: its keys and values are computed once, when it first appears, and kept, and a
step computes only the frames that are being made. Frames that have left the window are forgotten. The scheme is that
of Self-Forcing (Huang et al. 2025, arXiv:2506.08009); positions begin anew in every window, so that none leaves the
range that was trained.
Axes: latents b c f h w, timestep b f, text b l d.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from longtake.errors import RequestError
from longtake.model.dit import DiT, Past


class Causal(nn.Module):
    """Frames below the highest noise level are known, and come first. One film's caption; not for training."""

    def __init__(self, dit: DiT, block: int) -> None:
        super().__init__()
        self.dit, self.block = dit, block
        self._past = [Past() for _ in dit.blocks]
        self._frames: list[Tensor] = []  # c h w each: those whose keys and values are kept
        self.computed = 0
        """Frames whose keys and values were computed to be kept."""

    def forward(self, x: Tensor, timestep: Tensor, text: Tensor, positions: Tensor) -> Tensor:
        """As `DiT.forward`; the answer is zero where frames are known.

        Raises RequestError for known frames after unknown ones, and for more unknown ones than a block has.
        """
        known = timestep[0] < timestep[0].amax()
        count = int(known.sum())
        if not bool(known[:count].all()) or x.shape[2] - count > self.block:
            raise RequestError(
                "this model sees only what came before: it generates, and extends forward; "
                "choose another model to edit, blend, loop, extend backward, or make a shot again before another"
            )
        self._remember(x[:, :, :count], timestep[:, :count], text, positions)
        made: Tensor = self.dit(x[:, :, count:], timestep[:, count:], text, positions, past=self._past)
        return torch.cat([torch.zeros_like(x[:, :, :count], dtype=made.dtype), made], 2)

    def _remember(self, x: Tensor, timestep: Tensor, text: Tensor, positions: Tensor) -> None:
        """Bring what is kept to exactly these frames: forget what is gone, compute what is new."""
        there = self._found(x)
        if len(there) < len(self._frames):
            tokens = self._past[0].length // len(self._frames)
            for past in self._past:
                past.keep(torch.tensor(there, dtype=torch.int64), tokens)
            self._frames = [self._frames[i] for i in there]
        for begin in range(len(there), x.shape[2], self.block):
            end = min(begin + self.block, x.shape[2])
            for past in self._past:
                past.grows = True
            self.dit(x[:, :, begin:end], timestep[:, begin:end], text, positions[:end], past=self._past)
            for past in self._past:
                past.grows = False
            self._frames += [frame.clone() for frame in x[0, :, begin:end].unbind(1)]
            self.computed += end - begin

    def _found(self, x: Tensor) -> list[int]:
        """Where the first of these frames are among those kept, as far as they follow in order."""
        there: list[int] = []
        for frame in x[0].unbind(1):
            later = range(there[-1] + 1 if there else 0, len(self._frames))
            at = next((i for i in later if torch.equal(self._frames[i], frame)), None)
            if at is None:
                break
            there.append(at)
        return there
