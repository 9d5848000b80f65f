"""Our Wan against diffusers', side by side with the same random weights: a step, a decoded second, memory, cold start.

Times are taken in turn in one process, so that a busy machine meets both alike. The peak of memory and the cold start
are measured in a fresh process each, which loads the same files.
"""

from __future__ import annotations

import importlib
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from longtake.errors import MissingExtraError, RequestError, nearest
from longtake.model.presets import DiTConfig

_B1 = DiTConfig(1536, 30, 12, 8960, 16, 16, 4096)
_B5 = DiTConfig(3072, 30, 24, 14336, 48, 48, 4096)


@dataclass(frozen=True)
class Shape:
    """What is measured: a transformer, an autoencoder of this width, and the latents (frames, rows, columns)."""

    dit: DiTConfig
    base: int
    latents: tuple[int, int, int]
    decoded: int = 2
    """Latent frames that are decoded: the first gives one frame, each other four."""


SHAPES = {
    "tiny": Shape(DiTConfig(256, 2, 2, 1024, 16, 16, 64), 16, (3, 16, 16)),
    "1.3b-2": Shape(replace(_B1, layers=2), 32, (3, 30, 52)),
    "1.3b": Shape(_B1, 96, (21, 60, 104)),
    "5b": Shape(_B5, 160, (31, 44, 80)),
}
"""`1.3b-2` has the widths of the 1.3B model, two of its layers and a quarter of its picture; the others are whole."""
REPEATS = 5
Side = Literal["ours", "diffusers"]


@dataclass(frozen=True)
class Line:
    """What was measured: ours and theirs in `unit`, less is better."""

    what: str
    ours: float
    theirs: float
    unit: str

    def __str__(self) -> str:
        ratio = self.ours / self.theirs
        return f"{self.what:28} {self.ours:9.3f} {self.theirs:9.3f} {self.unit:3} {ratio:5.2f}x"


@dataclass(frozen=True)
class Networks:
    """A transformer's step and a decoder, on the device, as functions of nothing."""

    step: Callable[[], Any]
    decode: Callable[[], Any]


@torch.no_grad()
def compare(name: str, dtype: torch.dtype, device: torch.device, repeats: int = REPEATS) -> Iterator[Line]:
    """Measure both. Raises RequestError for an unknown shape, MissingExtraError without diffusers."""
    if name not in SHAPES:
        raise RequestError(f"unknown shape {name!r}; choose {', '.join(SHAPES)}{nearest(name, SHAPES)}")
    shape = SHAPES[name]
    diffusers = _diffusers()
    with tempfile.TemporaryDirectory() as folder:
        _write(diffusers, shape, dtype, Path(folder))
        if device.type == "cpu":
            yield from _cold(shape, dtype, Path(folder))
        own, other = (_networks(side, shape, dtype, device, Path(folder)) for side in ("ours", "diffusers"))
        frames = 1 + 4 * (shape.decoded - 1)
        yield from _lines("a step", own.step, other.step, device, repeats)
        yield from _lines(f"{frames} frames decoded", own.decode, other.decode, device, repeats)


def _diffusers() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            diffusers: Any = importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingExtraError('the comparison needs diffusers: pip install "longtake[dev]"') from error
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    return diffusers


def _write(diffusers: Any, shape: Shape, dtype: torch.dtype, folder: Path) -> None:
    """The networks of this shape, random, in diffusers' layout and in `dtype`."""
    config = shape.dit
    torch.manual_seed(0)
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=config.heads, attention_head_dim=config.head_dim, in_channels=config.in_channels,
        out_channels=config.out_channels, text_dim=config.text_dim, ffn_dim=config.ffn, num_layers=config.layers,
    )  # fmt: skip
    transformer.to(dtype).save_pretrained(folder / "transformer")
    options: dict[str, Any] = dict(base_dim=shape.base)
    if config.in_channels == 48:
        options = dict(
            base_dim=shape.base, decoder_base_dim=shape.base * 8 // 5, z_dim=48, is_residual=True, in_channels=12,
            out_channels=12, patch_size=2, scale_factor_spatial=16, latents_mean=[0.0] * 48, latents_std=[1.0] * 48,
        )  # fmt: skip
    diffusers.AutoencoderKLWan(**options).to(dtype).save_pretrained(folder / "vae")


def _networks(side: Side, shape: Shape, dtype: torch.dtype, device: torch.device, folder: Path) -> Networks:
    """One side's networks, loaded from the folder as its users would."""
    config, (f, h, w) = shape.dit, shape.latents
    x, z = (torch.randn(1, config.in_channels, n, h, w).to(device, dtype) for n in (f, shape.decoded))
    text = torch.randn(1, 512, config.text_dim).to(device, dtype)
    level = torch.full((1, f), 500.0, device=device)
    transformer, vae = (_ours if side == "ours" else _theirs)(folder, dtype)
    transformer.to(device).eval().requires_grad_(False)
    vae.to(device).eval().requires_grad_(False)
    if side == "ours":
        return Networks(lambda: transformer(x, level, text), lambda: _streamed(vae, z))
    return Networks(lambda: transformer(x, level[:, 0], text, return_dict=False), lambda: vae.decode(z))


def _ours(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    from longtake.model.wan import autoencoder, transformer
    from longtake.model.wan_files import find

    found = {each.part: each for each in find(folder)}
    return transformer(found["dit"], dtype), autoencoder(found["vae"], dtype)


def _theirs(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    diffusers = _diffusers()
    return (
        diffusers.WanTransformer3DModel.from_pretrained(folder / "transformer", torch_dtype=dtype),
        diffusers.AutoencoderKLWan.from_pretrained(folder / "vae", torch_dtype=dtype),
    )


def _streamed(vae: Any, z: Tensor) -> None:
    """Decode as a film is: each latent's frames leave before the next latent comes."""
    memory = None
    for latent in z.split(1, 2):
        _, memory = vae.stream(latent, memory)


def _lines(
    what: str, ours: Callable[[], Any], theirs: Callable[[], Any], device: torch.device, repeats: int
) -> Iterator[Line]:
    """Median of runs taken in turn; the first of each is left out."""
    taken: tuple[list[float], list[float]] = ([], [])
    peaks = [0.0, 0.0]
    for turn in range(repeats + 1):
        for side, run in enumerate((ours, theirs)):
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
                peaks[side] = torch.cuda.max_memory_allocated(device) / 1e9
            if turn:
                taken[side].append(time.perf_counter() - start)
    yield Line(what, statistics.median(taken[0]), statistics.median(taken[1]), "s")
    if device.type == "cuda":
        yield Line(f"{what}, peak memory", peaks[0], peaks[1], "GB")


def _cold(shape: Shape, dtype: torch.dtype, folder: Path) -> Iterator[Line]:
    """Time to the first step and peak of memory, each side in a process of its own (Linux)."""
    context = multiprocessing.get_context("spawn")
    results: list[tuple[float, float, float]] = []
    for side in ("ours", "diffusers"):
        with context.Pool(1) as pool:
            results.append(pool.apply(_alone, (side, shape, dtype, folder, torch.get_num_threads())))
    (start, step, peak), (their_start, their_step, their_peak) = results
    yield Line("cold start to first step", start, their_start, "s")
    yield Line("peak memory, step", step, their_step, "GB")
    yield Line("peak memory, step and decode", peak, their_peak, "GB")


@torch.no_grad()
def _alone(
    side: Side, shape: Shape, dtype: torch.dtype, folder: Path, threads: int
) -> tuple[float, float, float]:
    """(seconds from nothing imported but torch to the first step; GB above that after it, and after a decode)"""
    torch.set_num_threads(threads)
    before, start = _peak_memory(), time.perf_counter()
    networks = _networks(side, shape, dtype, torch.device("cpu"), folder)
    networks.step()
    seconds, step = time.perf_counter() - start, _peak_memory()
    networks.decode()
    return seconds, step - before, _peak_memory() - before


def _peak_memory() -> float:
    """GB that this process has held at most (VmHWM; pages of files that are mapped count while they are held)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 / 1e9
