"""One sample on many devices: tokens are split between ranks, or weights are.

Ulysses (Jacobs et al. 2023, arXiv:2309.14509): each rank holds a share of every frame's tokens; around attention an
all-to-all gives it all tokens of a share of the heads instead, and back. Nothing else in a block looks beyond its
token, so attention's callable is wrapped, and hooks split and gather at the ends of the stack. All ranks get the same
input and return the same output. FSDP2 splits the weights of each block, which are gathered as it is reached.
Axes: tokens b f n d, heads b k l d, ranks r.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from longtake.model.dit import Attend, Attention, DiT, Rotation


class ContextParallel:
    """Splits the tokens of `network` over the ranks of `group` (all by default), until `close`.

    A number of tokens a frame that does not divide is padded; padding takes no part in attention.
    For inference. Raises ValueError when the heads do not divide between the ranks.
    """

    def __init__(self, network: DiT, group: ProcessGroup | None = None) -> None:
        self._group, self._ranks, self._rank = group, dist.get_world_size(group), dist.get_rank(group)
        heads = network.config.heads
        if heads % self._ranks:
            raise ValueError(
                f"{heads} heads do not divide between {self._ranks} ranks; use a divisor of {heads}"
            )
        self._frames = self._tokens = 0
        self._replaced: list[tuple[Attention, Attend]] = []
        self._hooks: list[Any] = []
        blocks = list(network.blocks)
        for block in blocks:
            attention = block.attn1
            assert isinstance(attention, Attention)
            self._replaced.append((attention, attention.attend))
            attention.attend = self._ulysses(attention.attend)
            enter = self._first if block is blocks[0] else self._later
            self._hooks.append(block.register_forward_pre_hook(enter))
        self._hooks.append(blocks[-1].register_forward_hook(self._last))

    def close(self) -> None:
        """Each rank works alone again."""
        for hook in self._hooks:
            hook.remove()
        for attention, attend in self._replaced:
            attention.attend = attend
        self._hooks.clear()
        self._replaced.clear()

    def _first(self, block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self._frames, self._tokens = inputs[0].shape[1:3]
        return self._with_share_of_rotation((self._share(inputs[0], 2), *inputs[1:]))

    def _later(self, block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return self._with_share_of_rotation(inputs)

    def _last(self, block: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        parts = [torch.empty_like(output) for _ in range(self._ranks)]
        dist.all_gather(parts, output.contiguous(), group=self._group)
        return torch.cat(parts, 2)[:, :, : self._tokens]

    def _share(self, x: Tensor, axis: int) -> Tensor:
        """This rank's tokens of each frame, padded with zeros to as many as the others'."""
        missing = -x.shape[axis] % self._ranks
        if missing:
            x = F.pad(x, (*[0, 0] * (x.ndim - 1 - axis), 0, missing))
        return x.chunk(self._ranks, axis)[self._rank]

    def _with_share_of_rotation(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Blocks take (x, time, text, rotation, ...)."""
        whole: Rotation = inputs[3]

        def split(table: Tensor) -> Tensor:
            of_frames = rearrange(table, "(f n) one d -> f n one d", f=self._frames)
            return rearrange(self._share(of_frames, 1), "f n one d -> (f n) one d")

        return (*inputs[:3], whole._replace(cos=split(whole.cos), sin=split(whole.sin)), *inputs[4:])

    def _ulysses(self, attend: Attend) -> Attend:
        def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
            q, k, v = self._to_heads(torch.stack([q, k, v])).unbind(
                0
            )  # b k/r l d, l in the order of the whole
            return self._to_tokens(attend(q, k, v, mask))

        return attention

    def _to_heads(self, x: Tensor) -> Tensor:
        """Three of b k l/r d, all heads of this rank's tokens -> three of b k/r l d, all tokens of its heads."""
        x = rearrange(x, "s b (r k) (f n) d -> r s b k f n d", r=self._ranks, f=self._frames)
        x = self._all_to_all(x)
        x = rearrange(x, "r s b k f n d -> s b k f (r n) d")[..., : self._tokens, :]
        return rearrange(x, "s b k f n d -> s b k (f n) d")

    def _to_tokens(self, x: Tensor) -> Tensor:
        """b k/r l d -> b k l/r d."""
        x = rearrange(x, "b k (f n) d -> b k f n d", f=self._frames)
        x = F.pad(x, (0, 0, 0, -self._tokens % self._ranks))
        x = self._all_to_all(rearrange(x, "b k f (r n) d -> r b k f n d", r=self._ranks))
        return rearrange(x, "r b k f n d -> b (r k) (f n) d")

    def _all_to_all(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        dist.all_to_all_single(out, x, group=self._group)
        return out


def shard_weights(network: DiT, mesh: Any = None) -> None:
    """FSDP2: each rank keeps a share of every block's weights. `mesh` defaults to all ranks of the default group.

    Works for training and inference; the state dict holds DTensors from then on.
    """
    from torch.distributed.fsdp import fully_shard

    for block in network.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def one_by_one(network: nn.Module) -> None:
    """Run the samples of a batch one after the other: both branches of guidance in the memory of one."""
    whole = network.forward

    def forward(x: Tensor, timestep: Tensor, text: Tensor, *rest: Any, **more: Any) -> Tensor:
        rows = zip(x.split(1), timestep.split(1), text.split(1), strict=True)
        return torch.cat([whole(*row, *rest, **more) for row in rows])

    network.forward = forward


def split_batch(network: nn.Module, group: ProcessGroup | None = None) -> None:
    """Give each rank a share of the batch, both branches of guidance to two ranks; all return the whole answer.

    A batch that does not divide between the ranks raises ValueError when it is run.
    """
    whole = network.forward
    ranks, rank = dist.get_world_size(group), dist.get_rank(group)

    def forward(x: Tensor, timestep: Tensor, text: Tensor, *rest: Any, **more: Any) -> Tensor:
        if len(x) % ranks:
            raise ValueError(f"a batch of {len(x)} does not divide between {ranks} ranks")
        own = whole(*(y.chunk(ranks)[rank] for y in (x, timestep, text)), *rest, **more).contiguous()
        parts = [torch.empty_like(own) for _ in range(ranks)]
        dist.all_gather(parts, own, group=group)
        return torch.cat(parts)

    network.forward = forward
