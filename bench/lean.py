"""What the step cache and fewer bits cost in quality, on the packaged model: the tables of docs/lean.md.

    python bench/lean.py [--steps 40] [--prompt "a golden puppy plays in the snow"]

Every row is compared with the same request, all steps computed, weights in float32. Errors are relative, of latents;
PSNR is of the decoded frames, in dB. One thread; times are of this run and only good as ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from longtake.adapt.quantise import quantise, weight_bytes
from longtake.diffusion.cache import StepCache
from longtake.diffusion.sample import DenoiseAt, predictor, sample
from longtake.footage import decode
from longtake.model import checkpoint

SIZE = (320, 192)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--prompt", default="a golden puppy plays in the snow")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    models = checkpoint.load()
    shape = (1, models.config.vae.z, models.config.window, *models.config.grid(*SIZE))
    positions = torch.arange(1, models.config.window + 1)

    def denoiser(of: checkpoint.Models) -> DenoiseAt:
        return predictor(of, of.tokenizer([asked.prompt]), of.tokenizer([""]))

    def run(denoise: Callable[..., Tensor], steps: int) -> tuple[Tensor, float]:
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(1)
        *_, last = sample(lambda x, s: denoise(x, s, positions), shape, generator, steps=steps)
        return last.latents, time.perf_counter() - start

    def compare(latents: Tensor, whole: Tensor) -> str:
        error = ((latents - whole).norm() / whole.norm()).item()
        square = (pixels(latents) - pixels(whole)).square().mean()
        return f"{error:.4f} | {10 * torch.log10(4 / square).item():.1f}"

    def pixels(latents: Tensor) -> Tensor:
        memory, frames = None, []
        for latent in latents.split(1, 2):
            decoded, memory = decode(latent, memory, models)
            frames.append(decoded)
        return torch.cat(frames, 2).clamp(-1, 1)

    whole, full_time = run(denoiser(models), asked.steps)
    print(
        f"{asked.steps} steps\n| tolerance | evaluations | time | error | PSNR | plain steps: error | PSNR |",
        flush=True,
    )
    for tolerance in (0.02, 0.05, 0.1, 0.2):
        cache = StepCache(denoiser(models), tolerance)
        latents, spent = run(cache, asked.steps)
        plain, _ = run(denoiser(models), cache.computed)
        row = f"| {tolerance} | {cache.computed} | {spent / full_time:.2f} | {compare(latents, whole)} |"
        print(f"{row} {compare(plain, whole)} |", flush=True)

    eight, _ = run(denoiser(models), 8)
    before = weight_bytes(models.dit.blocks)
    print("8 steps\n| blocks in | share of fp32 bytes | error | PSNR |")
    for precision in ("bf16", "fp8", "int8"):
        small = checkpoint.load()
        quantise(small.dit.blocks, precision)
        latents, _ = run(denoiser(small), 8)
        share = weight_bytes(small.dit.blocks) / before
        print(f"| {precision} | {share:.2f} | {compare(latents, eight)} |", flush=True)


if __name__ == "__main__":
    main()
