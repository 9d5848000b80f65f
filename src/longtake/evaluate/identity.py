"""Is somebody the same in the next shot? Asked with a colour that no caption names, so that words cannot win it.

The stage plays two shots of one scene with its subject dyed in one of four colours. The middle frame of the first
shot is the memory from which the model makes the second, as a film does (film/make.py): whose colour has it? And of
two films of the same words, made by the model alone: is a second shot nearer to the first of its own film?
Axes: frames uint8 t 3 h w, memory b c 1 h w, paths t 5.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from longtake.evaluate.clips import SETS, Setting, Table
from longtake.judge.grader import SEEN
from longtake.judge.reading import READ
from longtake.model.device import autocast
from longtake.train.data import shrink, thinned
from longtake.world.atlas import Atlas
from longtake.world.sampler import Vocabulary, sample_scene
from longtake.world.scene import Scene
from longtake.world.stage import Stage

DYES = {
    "red": (1.0, 0.25, 0.25),
    "green": (0.25, 0.9, 0.3),
    "blue": (0.3, 0.4, 1.0),
    "yellow": (1.0, 0.85, 0.15),
}
_LUMA = np.array([0.299, 0.587, 0.114])
_STAYS = ("stand", "rest", "spin", "walk", "hop", "jump")


def two_shots(vocabulary: Vocabulary, count: int, frames: int, seed: int) -> list[tuple[Scene, Scene]]:
    """Held-out scenes under a still camera, and each once more from another distance and another chance."""
    rng = random.Random(f"identity {seed}")
    words = replace(vocabulary, pairs=0.0, still_camera=1.0, weathers=("clear",), shots=("full",))
    found: list[tuple[Scene, Scene]] = []
    while len(found) < count:
        scene = replace(sample_scene(rng, words, held_out=True), frames=frames)
        if scene.actors[0].action in _STAYS:
            found.append((scene, replace(scene, shot="medium", seed=rng.getrandbits(31))))
    return found


def dyed(atlas: Atlas, code: str, colour: tuple[float, float, float], share: float = 0.8) -> Atlas:
    """The atlas with one drawing in another colour, as bright as before."""
    strip = atlas.strips[code]
    part = slice(strip.first, strip.first + strip.frames)
    tiles = atlas.tiles.copy()
    pixels = tiles[part].astype(np.float32)
    light = (pixels[..., :3] @ _LUMA)[..., None] / float(_LUMA @ np.array(colour))
    mixed = share * light * np.array(colour) + (1 - share) * pixels[..., :3]
    tiles[part, ..., :3] = np.minimum(mixed, pixels[..., 3:]).round()
    return Atlas(tiles, atlas.strips)


def appearance(frames: Tensor, path: np.ndarray) -> np.ndarray | None:
    """Mean colour of what is in the middle of the box, as shares of red, green and blue; None where nothing is seen.

    `path` has a row for each of `frames`.
    """
    height, width = frames.shape[-2:]
    x, y = (np.arange(width) + 0.5) / width, ((np.arange(height) + 0.5) / height)[:, None]
    total, weight = np.zeros(3), 0
    for frame, (cx, cy, w, h, sure) in zip(frames.numpy(), path, strict=True):
        if sure > SEEN:
            inside = ((x - cx) / (0.3 * w)) ** 2 + ((y - cy) / (0.3 * h)) ** 2 < 1
            total, weight = total + frame[:, inside].sum(1), weight + int(inside.sum())
    return total / total.sum() if weight and total.sum() > 0 else None


def nearest(look: np.ndarray | None, others: dict[str, np.ndarray]) -> str | None:
    """Which of the others it is most like."""
    if look is None:
        return None
    return min(others, key=lambda name: float(np.square(look - others[name]).sum()))


def run(setting: Setting, vocabulary: Vocabulary, seed: int) -> Iterator[Table | None]:
    """Both questions; yields None after each scene, at last the table."""
    answers: dict[str, dict[str, list[float]]] = {
        question: {name: [] for name in SETS} for question in ("colour of the memory", "own film")
    }
    pairs = two_shots(vocabulary, setting.plan.probes, setting.frames, setting.plan.seed)
    for number, scenes in enumerate(pairs):
        at = seed + 10 * number
        for question, found in (
            ("colour of the memory", _dyed(setting, scenes, number, at)),
            ("own film", _own_film(setting, scenes, number, at)),
        ):
            for name, share in found.items():
                answers[question][name].append(share)
        yield None
    yield {
        question: {name: (float(np.mean(v)) if v else math.nan, len(v)) for name, v in row.items()}
        for question, row in answers.items()
    }


def _dyed(setting: Setting, scenes: tuple[Scene, Scene], number: int, seed: int) -> dict[str, float]:
    """Is the subject of the second shot, of all four dyes in the first, most like its own? Shuffled: like another."""
    dye = list(DYES)[number % len(DYES)]
    code = scenes[0].actors[0].code
    first = thinned(setting.tracks(scenes[0]), 12)  # a colour needs few frames
    second = setting.tracks(scenes[1])
    looks = {}
    for name, colour in DYES.items():
        stage = Stage(dyed(setting.atlas, code, colour), setting.stage.height, setting.stage.width)
        film = stage.render([first])
        look = appearance(setting.small(film), setting.paths(first)[code])
        assert look is not None  # the stage keeps it in the picture
        looks[name] = look
        if name == dye:
            memory, true = remembered(setting, film), stage.render([second])
    caption = setting.caption(scenes[1], number)
    made = setting.decoded(setting.latents(caption, seed, memory=memory))
    films = zip(SETS, (true, setting.through_autoencoder(true), made), strict=False)
    found = {name: nearest(_look(setting, film), looks) for name, film in films}
    others = [float(found["generated"] == name) for name in DYES if name != dye]
    return {name: float(like == dye) for name, like in found.items()} | {"shuffled": float(np.mean(others))}


def remembered(setting: Setting, film: Tensor) -> Tensor:
    """The middle frame of a film 1 3 t H W in 0..1 as a latent to remember, 1 c 1 h w."""
    vae = setting.models.vae
    still = shrink(film[:, :, film.shape[2] // 2][:, :, None], setting.models.config.vae.upscale)[:, :, 0]
    with torch.no_grad(), autocast(vae.mean.device):
        return vae.encode_still(still * 2 - 1).float().cpu()


def _look(setting: Setting, film: Tensor) -> np.ndarray | None:
    """Appearance of whoever is seen most surely: in another colour it may be taken for somebody else."""
    frames = setting.small(film)
    frames = frames[torch.linspace(0, len(frames) - 1, READ).round().long()]
    reading = setting.reader.read(frames)
    return appearance(
        frames, reading.tracks[max(reading.certainty, key=lambda code: reading.certainty[code])]
    )


def _own_film(setting: Setting, scenes: tuple[Scene, Scene], number: int, seed: int) -> dict[str, float]:
    """Of two films of the same words the model makes: is a second shot nearer to the first one of its own film?

    Generated: it remembers that. Shuffled: it remembers nothing. The stage has no chance in its colours, so there is
    no ceiling but 1.
    """
    opening, caption = (setting.caption(scene, number) for scene in scenes)
    firsts = [setting.latents(opening, seed + k) for k in (1, 2)]
    looks = {str(k): _look(setting, setting.decoded(latents)) for k, latents in enumerate(firsts)}
    seen = {name: look for name, look in looks.items() if look is not None}
    middle = firsts[0][:, :, firsts[0].shape[2] // 2][:, :, None]
    shares = {"generated": 0.0, "shuffled": 0.0}
    for name, memory in (("generated", middle), ("shuffled", None)):
        if len(seen) == len(looks):  # a subject that is not there is not the same
            second = setting.decoded(setting.latents(caption, seed + 3, memory=memory))
            shares[name] = float(nearest(_look(setting, second), seen) == "0")
    return shares
