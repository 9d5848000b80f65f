"""One scene as four clips: the stage's own pictures, what the autoencoder makes of them, and what the model makes.

Axes: frames uint8 t 3 h w at encoder size, latents b c f h w, paths t 5 (x y w h certainty, shares of the picture).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from longtake.diffusion import film
from longtake.diffusion.sample import DenoiseAt, predictor
from longtake.errors import RequestError
from longtake.film.framing import way_of
from longtake.film.layout import MARGIN, Layout, lay_out, plain
from longtake.film.rig import rigs, turns_aside
from longtake.film.takes import Judge, choose, seed_of
from longtake.judge.reading import READ, Reader, Reading
from longtake.model.checkpoint import Models
from longtake.model.device import autocast
from longtake.model.presets import Recipe
from longtake.storyboard import Camera, Shot
from longtake.train.data import shrink
from longtake.world.atlas import Atlas
from longtake.world.captions import LANGUAGES, full_caption
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, codes
from longtake.world.scene import Scene, Tracks
from longtake.world.stage import Stage

SETS = ("renders", "reconstructions", "generated", "shuffled")
"""Ceiling, what the autoencoder keeps of it, the model, and chance: the model's clips judged by other scenes' words."""

Table = dict[str, dict[str, tuple[float, int]]]
"""Question -> set -> (share of clips that answer it rightly, how many were asked)."""


@dataclass(frozen=True)
class EvalPlan:
    """What is asked: `clips` held-out scenes, every second one in Chinese, and `probes` scenes a special question."""

    clips: int = 60
    seconds: float = 4.0
    size: tuple[int, int] = (320, 192)
    steps: int = Recipe.steps
    guidance: float = Recipe.guidance
    vocabulary: str = "pocket"
    shown: int = 12
    """Clips that the report shows."""
    probes: int = 12
    """Scenes of each special question; 0 leaves them out."""
    drift: int = 3
    """Prompts that are rolled out to a minute; 0 leaves that out."""
    takes: int = 1
    """How often each clip is made; the grader that films are made with keeps the best, another reads it."""
    bare: bool = False
    """The network alone: one caption for the whole picture, camera and all, as it was trained."""
    atlas: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Clip:
    """One scene with its words and its pixels in each set."""

    scene: Scene
    caption: str
    frames: dict[str, Tensor]
    readings: dict[str, Reading]
    film: Tensor
    """The generated clip at native size, uint8 t 3 H W; empty where nobody will look at it."""
    paths: Mapping[str, np.ndarray]
    """Subject -> where it truly is in the render, [t 5]; the first of several."""
    errors: np.ndarray
    """Sum and count of squared errors of the autoencoder, over whole frames and inside the subjects' boxes."""


class Setting:
    """Who is asked, who reads, and the stage with the truth."""

    def __init__(self, models: Models, reader: Reader, plan: EvalPlan) -> None:
        """Raises RequestError when the model does not make the size asked for."""
        if plan.size not in models.config.sizes:
            sizes = ", ".join(f"{w}x{h}" for w, h in models.config.sizes)
            raise RequestError(f"this model makes {sizes}, not {plan.size[0]}x{plan.size[1]}")
        self.models, self.reader, self.plan = models, reader, plan
        self.frames = round(plan.seconds * models.config.fps)
        # what a special question needs beyond the model's words, such as the Z of who sleeps, is on stage as well
        drawings = (*codes(PRESETS[plan.vocabulary]), *codes(PRESETS["probes"]))
        self.atlas = Atlas.load(plan.atlas, dict.fromkeys(drawings))
        self.stage = Stage(self.atlas, plan.size[1], plan.size[0])

    def tracks(self, scene: Scene) -> Tracks:
        return choreograph(scene, self.atlas, self.plan.size[0] / self.plan.size[1])

    def paths(self, tracks: Tracks) -> dict[str, np.ndarray]:
        """Where each actor truly is, [t 5]; the first of several alike."""
        edges = self.stage.boxes([tracks])[0][0].numpy() / np.array([self.stage.width, self.stage.height] * 2)
        found = {}
        for layer in reversed(range(len(tracks.actor))):
            if tracks.actor[layer] >= 0:
                x0, y0, x1, y1 = edges[:, layer].T
                sides = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, np.ones(len(edges)))
                found[tracks.names[layer]] = np.stack(sides, -1)
        return found

    def caption(self, scene: Scene, number: int) -> str:
        """All there is to say of it, in English or in Chinese by turns."""
        return full_caption(scene, LANGUAGES[number % 2])

    def small(self, film: Tensor) -> Tensor:
        """A film 1 3 t H W in 0..1 as the grader reads it."""
        return to_bytes(shrink(film, self.models.config.vae.upscale))

    def through_autoencoder(self, true: Tensor) -> Tensor:
        """Frames 1 3 t H W in 0..1, encoded and decoded."""
        vae = self.models.vae
        with torch.no_grad(), autocast(vae.mean.device):
            latents = vae.encode(shrink(true, self.models.config.vae.upscale) * 2 - 1)
        return self.decoded(latents)

    def decoded(self, latents: Tensor) -> Tensor:
        """Latents as frames 1 3 t H W in 0..1."""
        with torch.no_grad(), autocast(self.models.vae.mean.device):
            return self.models.vae.decode(latents).float().clamp(-1, 1) / 2 + 0.5

    def latents(
        self, caption: str, seed: int, seconds: float | None = None, memory: Tensor | None = None
    ) -> Tensor:
        """The model's film of a caption; see `make_latents`."""
        layout = plain(caption, self.models.config.grid(*self.plan.size)[1])
        return make_latents(self.models, layout, self.plan, seed, seconds or self.plan.seconds, memory)

    def filmed(self, scene: Scene, number: int, seed: int) -> Tensor:
        """The model's film of a scene as a user gets it, frames 1 3 t H W in 0..1: each character apart, the camera on
        its rig, the best of its takes. With `plan.bare`, what the network makes of the caption."""
        if self.plan.bare:
            return self.decoded(self.latents(self.caption(scene, number), seed))
        still, camera = replace(scene, camera="static"), camera_of(scene)
        width = self.models.config.grid(*self.plan.size)[1]
        margin = MARGIN if turns_aside(camera) else 0
        language = LANGUAGES[number % 2]
        layout = lay_out(still, full_caption(still, language), language, width, margin=margin)

        def take(of: int) -> Generator[None, None, Tensor]:
            yield
            made = make_latents(self.models, layout, self.plan, seed_of(seed, of), self.plan.seconds)
            return layout.kept(made)

        judge = Judge(self.models)
        choice = choose(take, lambda made: judge(still, layout.at_rest(made)), self.plan.takes)
        wide = self.decoded(result_of(choice))[0]  # 3 t H W
        shot = Shot(id="s", duration=self.plan.seconds, camera=camera)
        fps = self.models.config.fps
        (rig,) = rigs([shot], [None], [wide.shape[1]], [layout.margin], [way_of(scene)], fps)
        views = [rig(wide[:, moment], moment) for moment in range(wide.shape[1])]
        return torch.stack(views, 1)[None]

    def clip(self, scene: Scene, number: int, seed: int, count: int = READ, shown: bool = False) -> Clip:
        """The scene rendered, through the autoencoder, and as the model makes it; `count` frames of each are read."""
        tracks = self.tracks(scene)
        true = self.stage.render([tracks])  # 1 3 t H W
        again = self.through_autoencoder(true)
        caption = self.caption(scene, number)
        made = self.filmed(scene, number, seed)
        frames = {name: self.small(film) for name, film in zip(SETS, (true, again, made), strict=False)}
        readings = {name: self.reader.read(clip, count) for name, clip in frames.items()}
        boxes = self.stage.boxes([tracks])[0][0]  # t l 4
        errors = _errors((again - true).square()[0], boxes, tracks)
        film = to_bytes(made) if shown else torch.zeros(0, dtype=torch.uint8)
        return Clip(scene, caption, frames, readings, film, self.paths(tracks), errors)


def make_latents(
    models: Models, layout: Layout, plan: EvalPlan, seed: int, seconds: float, memory: Tensor | None = None
) -> Tensor:
    """The model's film of a canvas as latents b c f h w; `memory` as in `film.Take`."""
    config, negative = models.config, models.tokenizer([""])

    def predict(caption: str) -> DenoiseAt:
        return predictor(models, models.tokenizer([caption]), negative, plan.guidance)

    generator = torch.Generator().manual_seed(seed)
    take = film.Take.of(config, layout.denoiser(predict), generator, plan.steps)
    shape = (1, config.vae.z, config.grid(*plan.size)[0], layout.columns)
    count = math.ceil(seconds * config.fps / config.vae.group)
    return film.collect(film.text_to_video(replace(take, memory=memory), shape, count))


def camera_of(scene: Scene) -> Camera:
    """The storyboard's camera for the theatre's."""
    if scene.camera == "handheld":
        return Camera(support="handheld")
    return Camera.model_validate({"move": scene.camera})


def result_of(steps: Generator[None, None, Tensor]) -> Tensor:
    """What a generator returns in the end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Tensor = end.value
            return result


def to_bytes(frames: Tensor) -> Tensor:
    """1 3 t h w in 0..1 -> uint8 t 3 h w."""
    return rearrange((frames.clamp(0, 1) * 255).round().to(torch.uint8), "1 c t h w -> t c h w")


def _errors(squared: Tensor, boxes: Tensor, tracks: Tracks) -> np.ndarray:
    """Sum and count of squared errors 3 t H W over whole frames and inside the actors' boxes t l 4."""
    height, width = squared.shape[-2:]
    y, x = torch.arange(height)[:, None], torch.arange(width)
    inside = torch.zeros(squared.shape[1:], dtype=torch.bool)
    for layer, actor in enumerate(tracks.actor):
        if actor >= 0:
            x0, y0, x1, y1 = (edge[:, None, None] for edge in boxes[:, layer].unbind(-1))
            inside |= (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    return np.array([
        squared.sum(), squared.numel(), (squared * inside).sum(), 3 * inside.sum(),
    ], dtype=float)  # fmt: skip
