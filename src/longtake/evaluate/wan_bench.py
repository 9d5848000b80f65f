"""Our Wan against diffusers', side by side with the same random weights: a step, a decoded second, memory, cold start.

A step is measured alone and within a run as users start it: each engine's own loop with guidance and UniPC, from a text
that is encoded already to latents (diffusers: `WanPipeline`), divided by its steps.
Times are taken in turn in one process, so that a busy machine meets both alike; with one thread they are seconds of
the processor, not of the clock. The peak of memory and the cold start are measured in a fresh process each, which loads
the same files.
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
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from longtake.diffusion import flow, solver
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
STEPS, GUIDANCE, SHIFT = 4, 5.0, 3.0
LENGTH, WORDS = 512, 128
"""Tokens of a text, and how many of them are words; the others are zeros, as both engines pad it."""
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
    """A transformer's step and run, and a decoder, on the device, as functions of nothing."""

    step: Callable[[], Any]
    run: Callable[[], Tensor]
    """STEPS steps with guidance: the latents."""
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
        yield from _lines("a step alone", own.step, other.step, device, repeats)
        yield from _lines("a step within a run", own.run, other.run, device, (repeats + 1) // 2, STEPS)
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
    generator = torch.Generator().manual_seed(1)
    x, z = (torch.randn(1, config.in_channels, n, h, w, generator=generator) for n in (f, shape.decoded))
    text = torch.zeros(2, LENGTH, config.text_dim)
    text[:, :WORDS] = torch.randn(2, WORDS, config.text_dim, generator=generator)
    x, z, text = x.to(device), z.to(device, dtype), text.to(device, dtype)
    transformer, vae = (_ours if side == "ours" else _theirs)(folder, dtype)
    transformer.to(device).eval().requires_grad_(False)
    vae.to(device).eval().requires_grad_(False)
    half, level = x.to(dtype), torch.full((1, f), 500.0, device=device)
    words = cycle([text[:1] * scale for scale in (1, 2, 4)])  # a step alone keeps nothing of the one before
    if side == "ours":
        return Networks(
            lambda: transformer(half, level, next(words)),
            lambda: _our_run(transformer, x, text, dtype),
            lambda: _streamed(vae, z),
        )
    return Networks(
        lambda: transformer(half, level[:, 0], next(words), return_dict=False),
        lambda: _their_run(transformer, vae, x, text),
        lambda: vae.decode(z),
    )


def _our_run(transformer: Any, noise: Tensor, text: Tensor, dtype: torch.dtype) -> Tensor:
    """Noise 1 c f h w and text 2 l d (with and without the prompt) -> latents, as `diffusion.sample` makes them."""
    solve, latents = solver.solver("unipc", torch.Generator()), noise
    for now, following in pairwise(solver.levels("unipc", STEPS, SHIFT)):
        level = now.expand(1, noise.shape[2]).to(noise.device)
        both = latents.to(dtype).expand(2, -1, -1, -1, -1)
        positive, negative = transformer(both, (1000 * level).floor().expand(2, -1), text).float().chunk(2)
        x0 = flow.to_x0(negative + GUIDANCE * (positive - negative), latents, level, "v")
        latents = solve.step(latents, x0, now.item(), following.item())
    return latents


def _their_run(transformer: Any, vae: Any, noise: Tensor, text: Tensor) -> Tensor:
    """The same by diffusers' pipeline."""
    diffusers = _diffusers()
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
    )
    pipeline = diffusers.WanPipeline(
        tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=scheduler,
        expand_timesteps=noise.shape[1] == 48,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    frames, rows, columns = noise.shape[2:]
    stride = pipeline.vae_scale_factor_spatial

    latents: Tensor = pipeline(
        prompt_embeds=text[:1], negative_prompt_embeds=text[1:], height=rows * stride, width=columns * stride,
        num_frames=1 + 4 * (frames - 1), num_inference_steps=STEPS, guidance_scale=GUIDANCE, latents=noise,
        output_type="latent",
    ).frames  # fmt: skip
    return latents


def _ours(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    from longtake.adapt.fit import quicken
    from longtake.model.wan import autoencoder, transformer
    from longtake.model.wan_files import find

    found = {each.part: each for each in find(folder)}
    dit = transformer(found["dit"], dtype)
    quicken(dit)
    return dit, autoencoder(found["vae"], dtype)


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
    what: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    device: torch.device,
    repeats: int,
    of: int = 1,
) -> Iterator[Line]:
    """Median of runs taken in turn, a run divided by `of`; the first of each is left out."""
    clock = time.perf_counter if device.type == "cuda" or torch.get_num_threads() > 1 else time.process_time
    taken: tuple[list[float], list[float]] = ([], [])
    peaks = [0.0, 0.0]
    for turn in range(repeats + 1):
        for side, run in enumerate((ours, theirs)):
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            start = clock()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
                peaks[side] = torch.cuda.max_memory_allocated(device) / 1e9
            if turn:
                taken[side].append((clock() - start) / of)
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
