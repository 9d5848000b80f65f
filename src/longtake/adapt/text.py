"""What a transformer makes of a film's text, made once a film instead of at every step.

The text goes through its embedder and through two projections a block, and comes out the same at every step: what these
layers answer is kept for as long as text and weights stay what they were. Adapters on the projections work on, as
they are added behind what is kept; an embedder with adapters inside is computed every time.

A text is padded with zeros, which Wan attends to like to words: hundreds of equal keys and values. One of them,
whose score is raised by the logarithm of their number, gives the same answer; the others are left out.
On a CPU only: on a GPU the text is one percent of a step, and what is kept of it would take memory that a card lacks.
Axes: text b l d.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from longtake.model.dit import Attend, Attention, DiT

TEXTS = 2
"""Texts whose answers are kept: where guidance takes its branches one by one, both."""


def keep_text(network: nn.Module, shorten: bool = True) -> None:
    """Keep what each transformer below `network` makes of its text, when it runs on a CPU and does not train.

    `shorten` leaves padding out, which needs an attention backend that takes scores to be added.
    """
    for dit in [module for module in network.modules() if isinstance(module, DiT)]:
        embedder: nn.Module = dit.condition_embedder.text_embedder
        embedder.forward = Kept(embedder)
        crosses = [m.attn2 for m in dit.blocks if isinstance(m.attn2, Attention)]
        if shorten and dit.config.image_dim is None:
            padding = Padding(embedder.forward)
            embedder.forward = padding.embed
            for attention in crosses:
                attention.attend = padding.attending(attention.attend)
        for attention in crosses:
            layers: tuple[nn.Module, nn.Module] = (attention.to_k, attention.to_v)
            for layer in layers:
                layer.forward = Kept(layer)


class _Answer(NamedTuple):
    text: Tensor
    state: tuple[object, ...]
    value: Tensor


class Kept:
    """The forward of a module of one input; `computed` counts how often it was asked in earnest."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._forward = module, module.forward
        self._answers: list[_Answer] = []
        self.computed = 0

    def __call__(self, text: Tensor) -> Tensor:
        inner = [m for m in self._module.modules() if m is not self._module]
        if text.device.type != "cpu" or torch.is_grad_enabled() or any(m._forward_hooks for m in inner):
            return self._asked(text)
        weights = (*self._module.parameters(), *self._module.buffers())
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        state = (dtype, *(w._version for w in weights))
        for answer in self._answers:
            unchanged = answer.state == (answer.text._version, *state)
            if unchanged and answer.text.dtype == text.dtype and torch.equal(answer.text, text):
                return answer.value
        value = self._asked(text)
        self._answers = [*self._answers[1 - TEXTS :], _Answer(text, (text._version, *state), value)]
        return value

    def _asked(self, text: Tensor) -> Tensor:
        self.computed += 1
        value: Tensor = self._forward(text)
        return value


class Padding:
    """Embeds a text but for its padding, of which one token stays and counts for all in attention."""

    def __init__(self, embed: Callable[[Tensor], Tensor]) -> None:
        self._embed = embed
        self._scores: Tensor | None = None  # l: added to those of the tokens that are left

    def embed(self, text: Tensor) -> Tensor:
        """Text b l d, zeros past its end -> its words and one token of padding, b l' d."""
        self._scores = None
        if text.device.type == "cpu" and not torch.is_grad_enabled():
            words = text.any(-1).any(0).nonzero()
            length = 1 + (int(words[-1]) if len(words) else -1)
            if (copies := text.shape[1] - length) > 1:
                text = text[:, : length + 1]
                self._scores = torch.zeros(length + 1)
                self._scores[-1] = math.log(copies)
        return self._embed(text)

    def attending(self, attend: Attend) -> Attend:
        """This attention, in which the token of padding counts for all."""

        def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
            scores = self._scores
            return attend(q, k, v, mask if scores is None else scores[None, None, None])

        return attention
