"""Low-rank adapters on a network: load, scale, stack, fuse, take off.

An adapter of a linear layer is a forward hook: y + scale * alpha / r * up(down(x)). The layer itself may be of any
kind (quantised, offloaded), its parameters keep their names, and taking the hook off restores it to the bit.
What is no linear layer (a norm, the patch embedding) is changed in place, and its old value kept.
Axes: x ... i, down r i, up o r.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.adapt.lora_file import Patch, adapter_file, read_lora
from longtake.errors import RequestError, WeightsError


class LowRank(nn.Module):
    """The low-rank part of one linear layer, without the strength at which it is used."""

    def __init__(
        self, down: Tensor, up: Tensor, alpha: float | None = None, bias: Tensor | None = None
    ) -> None:
        super().__init__()
        self.down, self.up = nn.Parameter(down), nn.Parameter(up)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.factor: float = (len(down) if alpha is None else alpha) / len(down)

    def forward(self, x: Tensor) -> Tensor:
        """x ... i -> ... o, in the dtype of the adapter (or of autocast)."""
        out: Tensor = F.linear(F.linear(x.to(self.down.dtype), self.down), self.up, self.bias)
        return out * self.factor

    def delta(self) -> Tensor:
        """What the adapter adds to the weight, float32, o i ..."""
        down, up = self.down.detach().float(), self.up.detach().float()
        product: Tensor = (up.flatten(1) @ down.flatten(1)).unflatten(1, down.shape[1:])
        return self.factor * product


class Lora:
    """One adapter on one network, from `attach` until `detach`; `scale` may be changed at any time."""

    def __init__(self, network: nn.Module, patches: dict[str, Patch], scale: float = 1.0) -> None:
        weight = next(network.parameters())
        self.network, self.scale = network, scale
        self.layers: dict[str, LowRank] = {}
        self._patches = patches
        self._hooks: list[Any] = []
        self._kept: dict[str, Tensor] = {}
        for name, patch in patches.items():
            if patch.down is not None and patch.up is not None:
                layer = LowRank(patch.down, patch.up, patch.alpha, patch.up_bias)
                self.layers[name] = layer.to(weight.device, weight.dtype).requires_grad_(False)

    def attach(self) -> None:
        """Put the adapter on. Twice is the same as once."""
        if self._hooks or self._kept:
            return
        for name, patch in self._patches.items():
            module = self.network.get_submodule(name)
            layer = self.layers.get(name)
            if is_linear(module):
                if layer is not None:
                    self._hooks.append(module.register_forward_hook(self._adding(layer)))
                changes = {"weight": patch.weight, "bias": patch.bias}
            else:
                changes = {"weight": patch.weight if layer is None else layer.delta(), "bias": patch.bias}
            for field, change in changes.items():
                if change is not None:
                    self._shift(f"{name}.{field}", change)

    def detach(self) -> None:
        """Take the adapter off; the network is as it was, to the bit."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        with torch.no_grad():
            for name, value in self._kept.items():
                self.network.get_parameter(name).copy_(value)
        self._kept.clear()

    def fuse(self) -> None:
        """Add the adapter to the weights for good: no cost a step any more, and no way back but loading again.

        Raises WeightsError where weights are quantised: fuse first, quantise then.
        """
        self.detach()
        changed: list[tuple[nn.Parameter, Tensor]] = []
        for name, patch in self._patches.items():
            layer = self.layers.get(name)
            module = self.network.get_submodule(name)
            if not isinstance(module.weight, nn.Parameter):
                raise WeightsError(f"{name} is quantised: fuse a LoRA first and quantise then")
            for change in (patch.weight, None if layer is None else layer.delta()):
                if change is not None:
                    changed.append((module.weight, change))
            for bias in (
                patch.bias,
                None if layer is None or layer.bias is None else layer.factor * layer.bias,
            ):
                if bias is not None:
                    changed.append((self.network.get_parameter(f"{name}.bias"), bias))
        with torch.no_grad():
            for parameter, change in changed:
                parameter.copy_(parameter.float() + self.scale * change.to(parameter.device).float())

    def _adding(self, layer: LowRank) -> Any:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            added: Tensor = layer(inputs[0])
            return output + self.scale * added.to(output.dtype)

        return add

    @torch.no_grad()
    def _shift(self, name: str, change: Tensor) -> None:
        try:
            parameter = self.network.get_parameter(name)
        except AttributeError as error:
            raise WeightsError(
                f"the LoRA changes {name}, which is quantised or absent; run in bf16"
            ) from error
        self._kept[name] = parameter.detach().clone()
        parameter.copy_(parameter.float() + self.scale * change.to(parameter.device).float())


def is_linear(module: nn.Module) -> bool:
    """A linear layer that is called as a module, quantised or not."""
    return isinstance(module, nn.Linear) or hasattr(module, "bits")


@dataclass(frozen=True)
class LoraChoice:
    """A file and its strength, written FILE or FILE:SCALE."""

    path: Path
    scale: float = 1.0

    def digest(self) -> str:
        """Of the file and the strength: what decides how it changes a film. Raises WeightsError."""
        path = adapter_file(self.path)
        with open(path, "rb") as file:
            return f"{hashlib.file_digest(file, 'sha256').hexdigest()}:{self.scale:g}"

    @classmethod
    def parse(cls, text: str) -> LoraChoice:
        """Raises RequestError for an empty path or a scale that is no number."""
        path, colon, scale = text.rpartition(":")
        if not colon or (len(path) == 1 and scale[:1] in "/\\"):  # a drive letter is no path
            return cls(Path(text))
        try:
            value = float(scale)
        except ValueError:
            if Path(text).exists():
                return cls(Path(text))
            raise RequestError(
                f"cannot read the LoRA {text!r}; write FILE or FILE:SCALE, such as a.safetensors:0.8"
            ) from None
        if not path or not -10 <= value <= 10:
            raise RequestError(f"the scale of a LoRA must lie in -10 to 10, not {scale}; try 1")
        return cls(Path(path), value)


def load_lora(path: Path, network: nn.Module, scale: float = 1.0, part: str = "transformer") -> Lora:
    """Read a file and attach it to `network`. Raises WeightsError (see `read_lora`); nothing is attached then."""
    lora = Lora(network, read_lora(path, network, part), scale)
    lora.attach()
    return lora


@contextmanager
def adapted(network: nn.Module, choices: Sequence[LoraChoice | str]) -> Iterator[list[Lora]]:
    """The network with these adapters on it, stacked; without them again afterwards, whatever happens."""
    loras: list[Lora] = []
    try:
        for choice in map(_choice, choices):
            loras.append(load_lora(choice.path, network, choice.scale))
        yield loras
    finally:
        for lora in reversed(loras):
            lora.detach()


def _choice(choice: LoraChoice | str) -> LoraChoice:
    return LoraChoice.parse(choice) if isinstance(choice, str) else choice
