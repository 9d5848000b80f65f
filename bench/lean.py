"""What the step cache and fewer bits cost in quality, on the packaged model: the tables of docs/lean.md.

    python bench/lean.py [--steps 40] [--prompt "a golden puppy plays in the snow" ...] [--cache-only]

Every row is compared with the same request, all steps computed, weights in float32. Errors are relative, of latents;
PSNR is of the decoded frames, in dB; both are means over the prompts. One thread; times are seconds of the processor.
"""

from __future__ import annotations

import argparse
import statistics
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
    parser.add_argument("--prompt", nargs="+", default=["a golden puppy plays in the snow"])
    parser.add_argument("--cache-only", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    models = checkpoint.load()
    shape = (1, models.config.vae.z, models.config.window, *models.config.grid(*SIZE))
    positions = torch.arange(1, models.config.window + 1)

    def denoiser(of: checkpoint.Models, prompt: str) -> DenoiseAt:
        return predictor(of, of.tokenizer([prompt]), of.tokenizer([""]))

    def run(denoise: Callable[..., Tensor], steps: int) -> tuple[Tensor, float]:
        start = time.process_time()
        generator = torch.Generator().manual_seed(1)
        *_, last = sample(lambda x, s: denoise(x, s, positions), shape, generator, steps=steps)
        return last.latents, time.process_time() - start

    def compare(latents: Tensor, whole: Tensor) -> tuple[float, float]:
        error = ((latents - whole).norm() / whole.norm()).item()
        square = (pixels(latents) - pixels(whole)).square().mean()
        return error, 10 * torch.log10(4 / square).item()

    def pixels(latents: Tensor) -> Tensor:
        memory, frames = None, []
        for latent in latents.split(1, 2):
            decoded, memory = decode(latent, memory, models)
            frames.append(decoded)
        return torch.cat(frames, 2).clamp(-1, 1)

    wholes = {prompt: run(denoiser(models, prompt), asked.steps) for prompt in asked.prompt}
    print(
        f"{asked.steps} steps, {len(wholes)} prompts\n"
        "| tolerance | evaluations | time | error | PSNR | plain steps: error | PSNR |",
        flush=True,
    )
    for tolerance in (0.02, 0.05, 0.1, 0.2):
        rows = []
        for prompt, (whole, full_time) in wholes.items():
            cache = StepCache(denoiser(models, prompt), tolerance)
            latents, spent = run(cache, asked.steps)
            plain, _ = run(denoiser(models, prompt), cache.computed)
            rows.append((cache.computed, spent / full_time, *compare(latents, whole), *compare(plain, whole)))
        count, share, *compared = (statistics.mean(column) for column in zip(*rows, strict=True))
        print(f"| {tolerance} | {count:.1f} | {share:.2f} |", *(f"{x:.4g} |" for x in compared), flush=True)
    if asked.cache_only:
        return

    prompt = asked.prompt[0]
    eight, _ = run(denoiser(models, prompt), 8)
    before = weight_bytes(models.dit.blocks)
    print("8 steps\n| blocks in | share of fp32 bytes | error | PSNR |")
    for precision in ("bf16", "fp8", "int8"):
        small = checkpoint.load()
        quantise(small.dit.blocks, precision)
        latents, _ = run(denoiser(small, prompt), 8)
        share = weight_bytes(small.dit.blocks) / before
        error, psnr = compare(latents, eight)
        print(f"| {precision} | {share:.2f} | {error:.4f} | {psnr:.1f} |", flush=True)


if __name__ == "__main__":
    main()
