"""Before a run: what will be where, the peak of memory, the time, and the fastest setting that fits.

Arithmetic over a config, nothing is loaded. Weights are counted exactly. Activations are an estimate that
`tests/test_memory_plan.py` holds against what PyTorch allocates; the decoder's working memory is an estimate.
Settings that change the result (fewer bits) are named in errors and never chosen unasked.
Bytes throughout; rates in operations and bytes a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

from longtake.errors import DeviceMemoryError, RequestError, nearest
from longtake.fields import LONGEST_FILM
from longtake.model.presets import PRESETS, DiTConfig

Precision = Literal["fp32", "bf16", "fp8", "int8"]
BYTES: dict[str, float] = {"fp32": 4, "bf16": 2, "fp8": 1, "int8": 1}
"""Bytes of one weight; at 8 bits a scale of 4 bytes for each row comes on top."""

GB = 1e9
SPARE = 0.06
"""Share of the memory left alone: the allocator's fragments and the driver."""
EFFICIENCY = 0.6
"""Of the rate of one large matrix product, what a whole forward reaches."""


@dataclass(frozen=True)
class Workload:
    """A network, what stands beside it, and the clip it makes at once."""

    name: str
    dit: DiTConfig
    text_bytes: float
    vae_bytes: float
    decode_channels: int
    """Channels of the decoder's last stage, at `decode_side` of the picture's side."""
    cell: int
    """Pixels of the picture along the side of one latent cell."""
    group: int
    """Frames of one latent frame."""
    width: int
    height: int
    frames: int
    fps: int
    steps: int
    decode_side: float = 1.0
    text_length: int = 512
    experts: int = 1
    guided: bool = True

    @property
    def latent_frames(self) -> int:
        return math.ceil(self.frames / self.group)

    @property
    def tokens(self) -> int:
        rows, columns = self.height // self.cell, self.width // self.cell
        return self.latent_frames * (rows // self.dit.patch[1]) * (columns // self.dit.patch[2])

    @property
    def branches(self) -> int:
        return 2 if self.guided else 1


@dataclass(frozen=True)
class Machine:
    """The device that computes: its memory, its rate, and how fast weights come to it."""

    memory: float
    operations: float
    transfer: float = 20 * GB
    kind: str = "cuda"


@dataclass(frozen=True)
class Plan:
    """A setting and what it costs."""

    workload: Workload
    machine: Machine
    precision: Precision
    resident: int
    """Blocks that live on the device; the others visit."""
    batched: bool
    """Both branches of guidance in one forward."""
    text_on_device: bool
    weights: float
    activations: float
    decode: float
    waiting: float
    """Bytes of weights that wait in host memory (or on the disk, when the device is the CPU)."""
    seconds: float

    @property
    def peak(self) -> float:
        """The most the device holds at once."""
        text = self.workload.text_bytes if self.text_on_device else 0.0
        return max(self.weights + self.activations, self.weights + self.decode, text)

    def lines(self) -> Iterator[str]:
        """The plan in words."""
        work, layers = self.workload, self.workload.dit.layers
        yield (
            f"{work.name}: {work.frames} frames of {work.width}x{work.height} ({work.tokens} tokens), "
            f"{work.steps} steps in {self.precision}"
        )
        yield (
            f"  on the device   {self.weights / GB:.2f} GB of weights: {self.resident} of {layers} blocks, "
            f"the rest of the transformer and the decoder"
        )
        if self.waiting:
            yield f"  waiting         {self.waiting / GB:.2f} GB of weights that visit block by block, ahead of time"
        where = "visits the device first, then leaves" if self.text_on_device else "runs on the CPU"
        yield f"  text encoder    {work.text_bytes / GB:.2f} GB, {where}"
        if work.guided:
            yield f"  guidance        {'both branches at once' if self.batched else 'one branch after the other'}"
        yield (
            f"  peak            {self.peak / GB:.2f} of {self.machine.memory / GB:.2f} GB "
            f"(denoising {(self.weights + self.activations) / GB:.2f}, "
            f"decoding {(self.weights + self.decode) / GB:.2f})"
        )
        rate = self.machine.operations / 1e12
        yield f"  expected time   {_duration(self.seconds)} of denoising at {rate:.3g} TFLOP/s"


def plan(work: Workload, machine: Machine, precision: Precision = "bf16") -> Plan:
    """The fastest setting that fits. Raises DeviceMemoryError that names what would fit, if nothing does."""
    fitting = [p for p in _settings(work, machine, precision) if p.peak <= machine.memory * (1 - SPARE)]
    if not fitting:
        raise DeviceMemoryError(_advice(work, machine, precision))
    return min(fitting, key=lambda p: (p.seconds, not p.batched, -p.resident))


def _settings(work: Workload, machine: Machine, precision: Precision) -> Iterator[Plan]:
    sizes = _sizes(work.dit)
    block = sizes.matrix * BYTES[precision] + sizes.scales * (4 if precision in ("int8", "fp8") else 0)
    block += sizes.other * (4 if precision == "fp32" else 2)
    rest = sizes.rest * (4 if precision == "fp32" else 2)
    layers = work.dit.layers
    text_fits = work.text_bytes <= machine.memory * (1 - SPARE)
    for batched in (True, False) if work.guided else (True,):
        rows = work.branches if batched else 1
        for resident in range(layers + 1):
            held = layers if resident == layers else min(layers, resident + 2)
            travelling = (layers - resident) * block
            compute = work.branches * _forward(work) / (EFFICIENCY * machine.operations)
            passes = 1 if batched else work.branches
            travel = passes * travelling / machine.transfer
            yield Plan(
                work, machine, precision, resident, batched, text_fits,
                weights=rest + held * block + work.vae_bytes,
                activations=activations(work, rows, precision),
                decode=_decode(work),
                waiting=travelling + (work.experts - 1) * layers * block,
                seconds=work.steps * max(compute, travel),
            )  # fmt: skip


def activations(work: Workload, rows: int, precision: Precision) -> float:
    """Most bytes a forward of `rows` samples holds beside the weights: the feed-forward's or the attention's."""
    dit, tokens, a = work.dit, work.tokens, 4 if precision == "fp32" else 2
    stream = a * dit.dim  # what goes from block to block
    attention = 6.5 * stream + 5 * 4 * dit.dim  # norms and rotation work in float32
    feed_forward = 2 * stream + 2 * a * dit.ffn + 4 * dit.dim
    total = rows * tokens * (stream + max(attention, feed_forward))
    if precision in ("int8", "fp8"):
        total += 2 * 2 * dit.dim * dit.ffn  # the largest weight, brought back to 16 bits
    return total


def _decode(work: Workload) -> float:
    """One latent frame at full size through the decoder's last stage: input, output, and the convolution's own."""
    pixels = work.width * work.height * work.decode_side**2 * work.group
    return 6 * 2 * pixels * work.decode_channels


def _forward(work: Workload) -> float:
    """Operations of one forward of one sample, a multiply and an add counted as two."""
    sizes, dit, tokens = _sizes(work.dit), work.dit, work.tokens
    linear = 2 * tokens * dit.layers * sizes.matrix
    return linear + 4 * dit.layers * tokens * (tokens + work.text_length) * dit.dim


@dataclass(frozen=True)
class _Sizes:
    matrix: int
    """Elements of one block's matrices, of its other parameters, of what is outside of blocks; rows of matrices."""
    other: int
    rest: int
    scales: int


@cache
def _sizes(config: DiTConfig) -> _Sizes:
    from torch import nn

    from longtake.model.dit import DiT
    from longtake.model.tensorfile import unfilled

    with unfilled():
        network = DiT(replace(config, layers=1))
    block = network.blocks[0]
    linears = [m for m in block.modules() if isinstance(m, nn.Linear)]
    matrix = sum(m.weight.numel() for m in linears)
    whole = sum(p.numel() for p in block.parameters())
    everything = sum(p.numel() for p in network.parameters())
    return _Sizes(matrix, whole - matrix, everything - whole, sum(m.out_features for m in linears))


def _advice(work: Workload, machine: Machine, precision: Precision) -> str:
    least = min(p.peak for p in _settings(work, machine, precision))
    ways: list[str] = []
    for bits in ("fp8", "int8"):
        if bits != precision and BYTES[bits] < BYTES[precision] and _fits(work, machine, bits):
            ways.append(f"--precision {bits}")
    for share in (0.75, 0.5, 0.25):
        groups = max(1, int(work.frames * share) // work.group)
        shorter = replace(work, frames=groups * work.group + work.frames % work.group)
        if _fits(shorter, machine, precision):
            ways.append(f"{shorter.frames} frames at once")
            break
    for share in (0.75, 0.5):
        step = work.cell * 2
        smaller = replace(
            work, width=int(work.width * share) // step * step, height=int(work.height * share) // step * step
        )
        if smaller.width and smaller.height and _fits(smaller, machine, precision):
            ways.append(f"--size {smaller.width}x{smaller.height}")
            break
    fix = f"; what fits: {', or '.join(ways)}" if ways else "; choose a smaller model"
    return (
        f"{work.name} needs at least {least / (1 - SPARE) / GB:.3g} GB for {work.frames} frames of {work.width}x"
        f"{work.height} in {precision}, and there are {machine.memory / GB:.3g} GB{fix}"
    )


def _fits(work: Workload, machine: Machine, precision: Precision) -> bool:
    return any(p.peak <= machine.memory * (1 - SPARE) for p in _settings(work, machine, precision))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _wan(name: str, dim: int, layers: int, heads: int, ffn: int, clip: tuple[int, int, int]) -> Workload:
    """Wan2.1's autoencoder: 127 M parameters, stride 8, 96 channels at full size. The text encoder is umT5-xxl's."""
    dit = DiTConfig(dim, layers, heads, ffn, 16, 16, 4096)
    width, height, frames = clip
    return Workload(name, dit, 11.4e9, 0.254e9, 96, 8, 4, width, height, frames, 16, 50)


_TI2V = Workload(
    "wan2.2-ti2v-5b", DiTConfig(3072, 30, 24, 14336, 48, 48, 4096), 11.4e9, 1.41e9, 256, 16, 4, 1280, 704, 121, 24, 50,
    decode_side=0.5,
)  # fmt: skip

_SMALL = _wan("wan2.1-t2v-1.3b", 1536, 30, 12, 8960, (832, 480, 81))
_LARGE = _wan("wan2.1-t2v-14b", 5120, 40, 40, 13824, (832, 480, 81))
_CLIP = 1.26e9
"""Bytes of the image encoder of Wan2.1's image-to-video models, in bfloat16."""


def _animating(name: str, size: tuple[int, int], experts: int = 1, clip: bool = False) -> Workload:
    """The 14B that is given a picture as further channels and, in Wan2.1, by CLIP."""
    dit = replace(_LARGE.dit, in_channels=36, image_dim=1280 if clip else None)
    width, height = size
    text = _LARGE.text_bytes + (_CLIP if clip else 0)
    return replace(_LARGE, name=name, dit=dit, text_bytes=text, width=width, height=height, experts=experts)


def _distilled(name: str, work: Workload) -> Workload:
    """Three steps without guidance."""
    return replace(work, name=name, steps=3, guided=False)


FAMILY = {
    work.name: work
    for work in (
        _SMALL,
        _TI2V,
        _LARGE,
        _animating("wan2.1-i2v-14b-480p", (832, 480), clip=True),
        _animating("wan2.1-i2v-14b-720p", (1280, 720), clip=True),
        replace(_LARGE, name="wan2.2-t2v-a14b", experts=2),
        _animating("wan2.2-i2v-a14b", (832, 480), experts=2),
        _distilled("fastwan2.1-t2v-1.3b", _SMALL),
        _distilled("fastwan2.2-ti2v-5b", _TI2V),
    )
}


def workload(
    name: str,
    size: str | None = None,
    seconds: float | None = None,
    steps: int | None = None,
    guided: bool = True,
) -> Workload:
    """The model of this name at its default clip, or at another one. Raises RequestError."""
    names = [*PRESETS, *FAMILY]
    if name not in names:
        raise RequestError(f"unknown model {name!r}; choose one of: {', '.join(names)}{nearest(name, names)}")
    known = FAMILY[name] if name in FAMILY else _preset(name)
    work = replace(known, guided=guided and known.guided)
    if size is not None:
        width, cross, height = size.partition("x")
        step = work.cell * work.dit.patch[1]
        if not (cross and width.isdigit() and height.isdigit()) or int(width) % step or int(height) % step:
            raise RequestError(f"the size {size!r} must be WIDTHxHEIGHT in multiples of {step} for {name}")
        work = replace(work, width=int(width), height=int(height))
    if seconds is not None:
        if not 0 < seconds <= LONGEST_FILM:
            raise RequestError(
                f"seconds must be above 0 and at most {LONGEST_FILM:g}, not {seconds:g}; try 4"
            )
        work = replace(work, frames=1 + round(seconds * work.fps / work.group) * work.group)
    if steps is not None and steps < 1:
        raise RequestError(f"steps must be at least 1, not {steps}; try 8")
    return work if steps is None else replace(work, steps=steps)


def _preset(name: str) -> Workload:
    from longtake.model.presets import parameters

    config, counts = PRESETS[name], parameters(PRESETS[name])
    width, height = config.sizes[0]
    return Workload(
        name, config.dit, 4 * counts["text"], 4 * counts["vae"], config.vae.decoder_widths[-1],
        config.vae.stride * config.vae.upscale, config.vae.group, width, height, config.window * config.vae.group,
        config.fps, 8, decode_side=0.5, text_length=config.text.length,
    )  # fmt: skip


def describe(
    name: str,
    memory: str | None = None,
    size: str | None = None,
    seconds: float | None = None,
    steps: int | None = None,
    precision: str = "bf16",
    tflops: float | None = None,
) -> Iterator[str]:
    """The plan for a model by name, in lines. Raises RequestError or DeviceMemoryError."""
    if precision not in get_args(Precision):
        valid = ", ".join(get_args(Precision))
        raise RequestError(
            f"unknown precision {precision!r}; choose one of: {valid}{nearest(precision, BYTES)}"
        )
    chosen: Precision = precision  # type: ignore[assignment]
    work = workload(name, size, seconds, steps)
    machine = this_machine(None if memory is None else parse_memory(memory), tflops)
    yield from plan(work, machine, chosen).lines()


def parse_memory(text: str) -> float:
    """'12GB', '12 GiB', '800MB' or a bare number of gigabytes -> bytes. Raises RequestError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?b?)?\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        raise RequestError(f"cannot read the memory {text!r}; write it as 12GB or 800MB")
    unit = (match[2] or "GB").lower()
    base = 1024 if "i" in unit else 1000
    return float(match[1]) * float(base ** (1 + "kmgt".index(unit[0])))


def this_machine(memory: float | None = None, tflops: float | None = None) -> Machine:
    """The best device here: free memory and the measured rate of a large product, unless told otherwise."""
    import torch

    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    if memory is None:
        memory = float(torch.cuda.mem_get_info()[0]) if on_gpu else _host_memory()
    rate = tflops * 1e12 if tflops else _measured_rate(device)
    return Machine(memory, rate, kind=device.type, transfer=20 * GB if on_gpu else 1 * GB)


def _host_memory() -> float:
    """Bytes that are free for a new program (Linux), else half of what is built in."""
    import os

    try:
        with open("/proc/meminfo") as file:
            return 1024.0 * next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2


def _measured_rate(device: object) -> float:
    """Operations a second of one large matrix product in the device's fast dtype."""
    import time

    import torch

    from longtake.model.device import autocast_dtype

    assert isinstance(device, torch.device)
    side = 8192 if device.type == "cuda" else 1024
    one = torch.randn(side, side, device=device, dtype=autocast_dtype(device) or torch.float32)
    best = math.inf
    for _ in range(4):
        start = time.perf_counter()
        product = one @ one
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    del product
    return 2 * side**3 / best
