"""Bring a loaded model into the form in which it shall run on this machine, and say so when it cannot.

Everything here is put around the networks from outside, in this order: fewer bits, attention, compiled blocks or
what a CPU gains by, guidance in one or two passes, offload. Adapters come and go with a film (`adapted`), since they
belong to the request.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from longtake.adapt.plan import GB, Plan, Precision, Workload, plan, this_machine
from longtake.errors import DeviceMemoryError, RequestError, nearest

if TYPE_CHECKING:
    from torch import nn

    from longtake.model.checkpoint import Models


@dataclass(frozen=True)
class Options:
    """How to run a model. Only `precision` changes what is made."""

    precision: str = "auto"
    """auto (as it was loaded), fp32, bf16, fp8 or int8: the weights of the blocks."""
    attention: str = "auto"
    compile: bool = False
    memory: float | None = None
    """Bytes of the device's memory to use; all that is free by default."""

    def __post_init__(self) -> None:
        valid = ("auto", *get_args(Precision))
        if self.precision not in valid:
            raise RequestError(
                f"unknown precision {self.precision!r}; choose one of: {', '.join(valid)}"
                f"{nearest(self.precision, valid)}"
            )


def fit(models: Models, options: Options) -> Models:
    """The same networks, ready to run on the best device here. They are changed in place.

    On a CPU without a limit nothing has to be planned. Raises DeviceMemoryError when no setting fits, RequestError or
    MissingExtraError for what this machine does not have; the networks may be used no further then.
    """
    import torch

    from longtake.adapt.attention import use_attention
    from longtake.adapt.compiled import compile_blocks
    from longtake.adapt.offload import Offload
    from longtake.adapt.parallel import one_by_one
    from longtake.adapt.quantise import quantise

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = _precision(models, options)
    chosen: Plan | None = None
    if options.memory is not None or device.type == "cuda":
        chosen = plan(workload_of(models), this_machine(options.memory), precision)
    if options.precision != "auto":
        quantise(models.dit.blocks, precision)
        models = models.but(name=f"{models.name} {precision}")  # it is written into every film
    elif device.type == "cpu" and chosen is None:
        _cast_once(models, device)
    use_attention(models.dit, options.attention)
    if options.compile:
        compile_blocks(models.dit.blocks)
    elif device.type == "cpu":
        quicken(models.dit, options.attention)
    if chosen is not None and not chosen.batched:
        one_by_one(models.dit)
    resident = models.config.dit.layers if chosen is None else chosen.resident
    if resident < models.config.dit.layers:
        Offload(list(models.dit.blocks), device, resident)  # lives in the hooks of the blocks
        _to(models.dit, device, but="blocks")
    else:
        models.dit.to(device)
    models.vae.to(device)
    models.text.to(device)
    return models


def quicken(dit: nn.Module, attention: str = "auto") -> None:
    """What makes a transformer faster on a CPU and changes no more than its rounding."""
    from longtake.adapt.onednn import use_products
    from longtake.adapt.text import keep_text

    use_products(dit, attention == "auto")
    keep_text(dit, shorten=attention in ("auto", "sdpa"))


def workload_of(models: Models) -> Workload:
    """One window of this model at its first native size."""
    from longtake.adapt.quantise import weight_bytes

    config = models.config
    width, height = config.sizes[0]
    return Workload(
        models.name, config.dit, weight_bytes(models.text), weight_bytes(models.vae), config.vae.decoder_widths[-1],
        config.vae.stride * config.vae.upscale, config.vae.group, width, height, config.window * config.vae.group,
        config.fps, 8, decode_side=0.5, text_length=config.text.length,
    )  # fmt: skip


@contextmanager
def memory_explained(models: Models) -> Iterator[None]:
    """Turns the device's out-of-memory into a DeviceMemoryError that names the setting that fits."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(_what_fits(models)) from error


def _what_fits(models: Models) -> str:
    machine = this_machine()
    precision = _precision(models, Options())
    for share in (0.8, 0.6, 0.4):
        limit = machine.memory * share
        try:
            leaner = plan(workload_of(models), replace(machine, memory=limit), precision)
        except DeviceMemoryError:
            break
        return (
            f"the device ran out of memory; --memory-limit {limit / GB:.1f}GB keeps {leaner.resident} of "
            f"{models.config.dit.layers} blocks on it and needs {leaner.peak / GB:.1f} GB"
        )
    return (
        "the device ran out of memory and nothing leaner fits; close other programs or use --precision int8"
    )


def _precision(models: Models, options: Options) -> Precision:
    import torch

    if options.precision != "auto":
        chosen: Precision = options.precision  # type: ignore[assignment]
        return chosen
    first: Any = models.dit.blocks[0]
    names: dict[torch.dtype, Precision] = {
        torch.float32: "fp32",
        torch.bfloat16: "bf16",
        torch.float8_e4m3fn: "fp8",
        torch.int8: "int8",
    }
    return names[first.attn1.to_q.weight.dtype]


def _cast_once(models: Models, device: Any) -> None:
    """Weights in the dtype that autocast would cast them to at every call: the same products, bit for bit, sooner.

    Only of our own models, which are small; of a large one the second copy would take more memory than it saves time.
    """
    from torch import nn

    from longtake.model.device import autocast_dtype
    from longtake.model.vae import VAE

    dtype = autocast_dtype(device)
    if dtype is None or not isinstance(models.vae, VAE):
        return
    # not the encoder: pictures are read in full precision
    for part in (models.dit.blocks, models.vae.decoder, models.text):
        for layer in part.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                layer.to(dtype)


def _to(network: Any, device: Any, but: str) -> None:
    """Move all of a network but one child."""
    for name, child in network.named_children():
        if name != but:
            child.to(device)
    for tensor in (*network.parameters(recurse=False), *network.buffers(recurse=False)):
        tensor.data = tensor.data.to(device)
