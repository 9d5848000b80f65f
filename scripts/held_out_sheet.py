"""Draw the shipped model's films of 30 held-out prompts on one sheet, with their prompts above them.

    python scripts/held_out_sheet.py [WEIGHTS] [OUT]

Each prompt names a subject at a place that no training clip shows together. Languages take turns. A person who
covers the prompts and names subject and place gives the figure in the README.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import torch

from longtake.evaluate.clips import EvalPlan, make_latents
from longtake.film.layout import plain
from longtake.model import checkpoint
from longtake.world.captions import full_caption
from longtake.world.sampler import PRESETS, holds_out_place, sample_scene
from longtake.world.scene import Scene
from longtake.world.sheet import contact_sheet

PROMPTS = 30
OUT = Path(__file__).parent.parent / "docs" / "media" / "held-out.png"


def held_out_scenes(count: int, seed: int = 2026) -> list[Scene]:
    """Single subjects at places held out for them, full or medium shots from a resting camera."""
    rng, scenes = random.Random(seed), []
    vocabulary = replace(PRESETS["pocket"], shots=("full", "medium"), cameras=("static",), pairs=0.0)
    while len(scenes) < count:
        scene = sample_scene(rng, vocabulary, held_out=True)
        if holds_out_place(scene.actors[0].code, scene.place):
            scenes.append(scene)
    return scenes


def main(weights: Path | None, out: Path) -> None:
    models = checkpoint.load(weights)
    prompts = [full_caption(s, ("en", "zh")[i % 2]) for i, s in enumerate(held_out_scenes(PROMPTS))]
    recipe = models.config.sampling
    plan = EvalPlan(size=models.config.sizes[0], steps=recipe.steps, guidance=recipe.guidance)
    columns = models.config.grid(*plan.size)[1]
    cells = []
    for i, prompt in enumerate(prompts):
        latents = make_latents(models, plain(prompt, columns), plan, i, plan.seconds)
        with torch.no_grad():
            frames = models.vae.decode(latents)[0, :, :, ::2, ::2]
        pixels = ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()
        cells.append((f"{i + 1} {prompt}", pixels))
    out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(cells, columns=3).save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, Path(sys.argv[2]) if len(sys.argv) > 2 else OUT)
