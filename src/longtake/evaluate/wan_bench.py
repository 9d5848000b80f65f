"""Our Wan against diffusers', side by side in one process with the same random weights: a step, and a decoded second.

The peak of memory is measured on a GPU only: on a CPU the two share one process.
"""

from __future__ import annotations

import importlib
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from longtake.errors import MissingExtraError, RequestError, nearest
from longtake.model.dit import DiT
from longtake.model.presets import DiTConfig
from longtake.model.wan_keys import vae_config
from longtake.model.wan_vae import WanVAE

SHAPES = {
    "tiny": (DiTConfig(256, 2, 2, 1024, 16, 16, 64), 16, (3, 16, 16)),
    "1.3b": (DiTConfig(1536, 30, 12, 8960, 16, 16, 4096), 96, (21, 60, 104)),
    "1.3b-2": (DiTConfig(1536, 2, 12, 8960, 16, 16, 4096), 32, (3, 30, 52)),
}
"""Name -> transformer, width of the autoencoder, latent frames, rows and columns; 1.3b-2 is two layers of it."""
REPEATS = 5


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


@torch.no_grad()
def compare(shape: str, dtype: torch.dtype, device: torch.device) -> Iterator[Line]:
    """Measure both in turn. Raises RequestError for an unknown shape, MissingExtraError without diffusers."""
    if shape not in SHAPES:
        raise RequestError(f"unknown shape {shape!r}; choose {', '.join(SHAPES)}{nearest(shape, SHAPES)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            diffusers: Any = importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingExtraError('the comparison needs diffusers: pip install "longtake[dev]"') from error
    config, base, (f, h, w) = SHAPES[shape]
    theirs: Any = diffusers.WanTransformer3DModel(
        num_attention_heads=config.heads, attention_head_dim=config.head_dim, in_channels=16, out_channels=16,
        text_dim=config.text_dim, ffn_dim=config.ffn, num_layers=config.layers,
    )  # fmt: skip
    theirs = theirs.to(device, dtype).eval()
    with torch.device("meta"):
        ours: Any = DiT(replace(config))
    ours.load_state_dict(theirs.state_dict(), assign=True)
    ours.eval()
    x = torch.randn(1, 16, f, h, w, device=device, dtype=dtype)
    text = torch.randn(1, 512, config.text_dim, device=device, dtype=dtype)
    level = torch.full((1, f), 500.0, device=device)
    yield from _lines(
        "a step",
        lambda: ours(x, level, text),
        lambda: theirs(x, level[:, 0], text, return_dict=False),
        device,
    )
    vae: Any = diffusers.AutoencoderKLWan(base_dim=base).to(device, dtype).eval()
    shapes = {k: tuple(v.shape) for k, v in vae.state_dict().items()}
    own = WanVAE(vae_config(shapes)).to(device).eval()
    own.load_state_dict(vae.state_dict(), assign=True)
    own.lay_out()
    z = torch.randn(1, 16, 2, h, w, device=device, dtype=dtype)
    yield from _lines("5 frames decoded", lambda: own.decode(z), lambda: vae.decode(z), device)


def _lines(
    what: str, ours: Callable[[], Any], theirs: Callable[[], Any], device: torch.device
) -> Iterator[Line]:
    """Median of runs taken in turn, so that a busy machine meets both alike."""
    taken: tuple[list[float], list[float]] = ([], [])
    peaks = [0.0, 0.0]
    for repeat in range(REPEATS + 1):
        for side, run in enumerate((ours, theirs)):
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
                peaks[side] = torch.cuda.max_memory_allocated(device) / 1e9
            if repeat:
                taken[side].append(time.perf_counter() - start)
    yield Line(what, statistics.median(taken[0]), statistics.median(taken[1]), "s")
    if device.type == "cuda":
        yield Line(f"{what}, peak memory", peaks[0], peaks[1], "GB")
