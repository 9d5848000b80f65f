"""The latents of every shot of a board, each made once: taken from the shelf, or sampled and put there.

The key of a shot holds all that decides it - words, seed, weights, sampling, and the keys of the shots it starts
from - so that an interrupted film finds what it has, and a changed board finds what did not change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from longtake.adapt.lora import LoraChoice
from longtake.diffusion import shot as shots
from longtake.diffusion.cache import cached
from longtake.diffusion.canvas import fitted
from longtake.diffusion.film import Chunk, Take
from longtake.diffusion.sample import DenoiseAt, predictor
from longtake.errors import MediaError
from longtake.film.guide import Guide
from longtake.film.layout import Layout
from longtake.film.plan import MOST_REMEMBERED, ShotPlan
from longtake.film.shelf import Finished, Shelf
from longtake.film.takes import Judge, Verdict, choose, seed_of
from longtake.footage import animated, animates, encode_frames, encode_picture
from longtake.model.device import autocast_dtype
from longtake.provenance.keys import MasterKey
from longtake.provenance.latent import LatentMark
from longtake.video import check_file
from longtake.world.scene import Scene

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models

KEEP, SINK = 6, 2
"""A take goes on from its 6 last and 2 first latents; those from its beginning hold its colours for a minute."""
_LAYOUT = 3
"""Of the keys: raise it when the same request would give other latents."""
_SAMPLED = 64


@dataclass(frozen=True)
class Settings:
    """How shots are sampled, the same for the whole film."""

    size: tuple[int, int]
    """Native width and height."""
    steps: int
    guidance: float
    negative: str
    image: Path | None = None
    """The picture the film begins with."""
    lora: tuple[str, ...] = ()
    """Adapters that are on the transformer meanwhile."""
    cache: float = 0.0
    """Tolerance of the step cache."""
    guide: float = 0.0
    """How far shots may leave the animatic they are made from; 0: they are made from words alone."""
    mark: MasterKey | None = None
    """The key whose signs the noise carries."""
    takes: int = 1
    """How often each shot is made, at most; the best take is kept."""


@dataclass(frozen=True)
class Made:
    """This share of a shot is made."""

    index: int
    share: float


class Studio:
    """Makes the shots of one film. A shot is asked for by its index; what it starts from is made before it."""

    def __init__(
        self,
        models: Models,
        plans: Sequence[ShotPlan],
        layouts: Sequence[Layout],
        references: Sequence[Sequence[Path]],
        guides: Sequence[Guide],
        scenes: Sequence[Scene],
        settings: Settings,
        shelf: Shelf | None,
    ) -> None:
        """One a shot. `layouts`: what the model is told, and where; `references`: pictures of its characters; `guides`:
        the previews that shots are made from, asked only where `settings.guide` says so; `scenes`: what takes are
        compared with, asked only where `settings.takes` is above 1."""
        self._models, self._plans, self._settings, self._shelf = models, plans, settings, shelf
        self._layouts, self._references, self._guides, self._scenes = layouts, references, guides, scenes
        self._judge = Judge(models) if settings.takes > 1 else None
        self._decided = [_fingerprint(models), *(LoraChoice.parse(lora).digest() for lora in settings.lora)]
        self._kept: dict[str, Finished] = {}  # where there is no shelf
        self._keys: dict[tuple[int, bool], str] = {}
        self._negative = models.tokenizer([settings.negative])
        self._rows = models.config.grid(*settings.size)[0]

    def is_finished(self, index: int) -> bool:
        """Nothing is left to be made of this shot."""
        return self._key(index) in (self._kept if self._shelf is None else self._shelf)

    def finished(self, index: int, first: bool = False) -> Generator[Made, None, Finished]:
        """The shot of this index, or its first version, made if need be. Yields how far it is."""
        first = first or not self._plans[index].is_retake
        key = self._key(index, first)
        found = self._kept.get(key) if self._shelf is None else self._shelf.get(key)
        if found is not None:
            return found
        shot = yield from self._make(index, first)
        if self._shelf is None:
            self._kept[key] = shot
        else:
            self._shelf.put(key, shot)
        return shot

    def fetch(self, index: int, first: bool = False) -> Finished:
        """The same at once, without reporting."""
        steps = self.finished(index, first)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                shot: Finished = end.value
                return shot

    def _make(self, index: int, first: bool) -> Generator[Made, None, Finished]:
        """The best of its takes."""
        plan, layout = self._plans[index], self._layouts[index]
        around = (yield from self._surroundings(index, first)).fitted(layout.columns)
        memory = yield from self._memory(index)
        seed = plan.seed if first or plan.shot.seed is None else plan.shot.seed
        takes = self._settings.takes

        def film(number: int) -> Generator[Made, None, Finished]:
            made = self._film(index, seed_of(seed, number), around, memory)
            try:
                while True:
                    yield Made(index, (number + next(made).share) / takes)
            except StopIteration as end:
                shot: Finished = end.value
                return shot

        def judge(shot: Finished) -> Verdict:
            assert self._judge is not None
            lead = None if shot.lead is None else layout.at_rest(shot.lead)
            return self._judge(self._scenes[index], layout.at_rest(shot.latents), lead)

        return (yield from choose(film, judge, takes))

    def _surroundings(self, index: int, first: bool) -> Generator[Made, None, shots.Surroundings]:
        plan, still = self._plans[index], self._still(index)
        past = None if plan.past is None else (yield from self._take(plan.past))[:, :, : plan.held]
        future = None
        if not first and plan.future is not None:
            future = (yield from self.finished(plan.future, True)).latents
        echo = None
        if plan.echo is not None:
            echo = (yield from self.finished(plan.echo, True)).latents[:, :, -1:]
        return shots.Surroundings(
            past=past,
            future=future,
            still=None if still is None or animates(self._models) else self._picture(still),
            echo=echo,
            guide=self._guide(index, plan.latents) if past is None else None,
            strength=self._settings.guide or 1.0,
        )

    def _film(
        self, index: int, seed: int, around: shots.Surroundings, memory: Tensor | None
    ) -> Generator[Made, None, Finished]:
        """One take."""
        plan, layout, past, future = self._plans[index], self._layouts[index], around.past, around.future
        frame = (1, self._models.config.vae.z, self._rows, layout.columns)
        count = plan.latents if future is None else self._until_future(plan)
        latents = [] if past is None or not plan.shared else [past[:, :, -1:]]
        opening: Tensor | None = None
        if count:
            for event in shots.make(self._sampling(index, seed, memory), frame, count, around):
                if isinstance(event, Chunk):
                    latents.append(event.latents)
                    opening = event.lead if opening is None else opening
                else:
                    yield Made(index, event.fraction)
        if future is not None:  # what follows it is known: the rest of it is that
            latents.append(future[:, :, : plan.latents - count])
        lead = opening
        if past is not None:
            lead = past[:, :, : past.shape[2] - plan.shared][:, :, -self._models.config.lead :]
        return Finished(layout.kept(torch.cat(latents, 2)), None if lead is None else layout.kept(lead), seed)

    def _take(self, index: int) -> Generator[Made, None, Tensor]:
        """All latents of a take from its first shot to the end of this one, every shot in its first version."""
        plan = self._plans[index]
        own = (yield from self.finished(index, first=True)).latents[:, :, int(plan.shared) :]
        if plan.past is None:
            return own
        before = yield from self._take(plan.past)
        return torch.cat([before[:, :, : plan.held], own], 2)

    def _until_future(self, plan: ShotPlan) -> int:
        """Latents to be made before the first one of the shot that carries this one on."""
        assert plan.future is not None
        following = self._plans[plan.future]
        return following.held - following.shared - plan.held

    def _memory(self, index: int) -> Generator[Made, None, Tensor | None]:
        """Pictures of its characters, and the middle latent of each shot that it remembers."""
        remembered = [self._picture(path) for path in self._references[index]]
        for other in self._remembers(index):
            latents = (yield from self.finished(other, first=True)).latents
            remembered.append(latents[:, :, latents.shape[2] // 2][:, :, None])
        columns = self._layouts[index].columns
        shown = [fitted(latent, columns) for latent in remembered[:MOST_REMEMBERED]]
        return torch.cat(shown, 2) if shown else None

    def _remembers(self, index: int) -> tuple[int, ...]:
        return self._plans[index].remembers if self._models.config.remembers else ()

    def _sampling(self, index: int, seed: int, memory: Tensor | None) -> Take:
        settings, plan, layout = self._settings, self._plans[index], self._layouts[index]
        mark = None if settings.mark is None else layout.marked(LatentMark(settings.mark, seed))
        config = self._models.config
        models = animated(self._models, self._still(index), settings.size, plan.latents)

        def predict(caption: str) -> DenoiseAt:
            return predictor(models, models.tokenizer([caption]), self._negative, settings.guidance)

        denoise = cached(layout.denoiser(predict), settings.cache)
        take = Take.of(config, denoise, torch.Generator().manual_seed(seed), settings.steps)
        return replace(take, keep=KEEP, sink=SINK, memory=memory, noise=mark)

    def _guide(self, index: int, latents: int) -> Tensor | None:
        """The animatic of a shot that opens a take, as latents; what carries a take on has its past for a guide."""
        if not self._settings.guide or not latents:
            return None
        config = self._models.config
        frames = self._guides[index].frames(latents * config.vae.group, config.fps, self._settings.size)
        return encode_frames(frames, self._models, self._settings.size)[:, :, :latents]

    def _still(self, index: int) -> Path | None:
        """The picture that this shot begins with."""
        return self._settings.image if index == 0 else None

    def _picture(self, path: Path) -> Tensor:
        return encode_picture(path, self._models, self._settings.size)

    def _key(self, index: int, first: bool = False) -> str:
        """Digest of all that decides a version of a shot."""
        plan, settings = self._plans[index], self._settings
        first = first or not plan.is_retake
        if (index, first) in self._keys:
            return self._keys[index, first]

        def of(other: int | None) -> str | None:
            return None if other is None else self._key(other, first=True)

        decides: dict[str, Any] = {
            "layout": _LAYOUT,
            "models": self._decided,
            "size": settings.size,
            "sampling": [settings.steps, settings.guidance, settings.negative, settings.cache],
            "takes": settings.takes,
            "told": asdict(self._layouts[index]),
            "seed": plan.seed if first else plan.shot.seed,
            "latents": [plan.held, plan.latents, plan.skip],
            "past": of(plan.past),
            "future": None if first else of(plan.future),
            "echo": of(plan.echo),
            "remembers": [of(other) for other in self._remembers(index)],
            "references": [_digest_of(path) for path in self._references[index]],
            "image": _digest_of(settings.image) if index == 0 and settings.image else None,
        }
        if settings.mark is not None:
            decides["mark"] = settings.mark.fingerprint
        if settings.guide and plan.past is None:
            decides["guide"] = [settings.guide, self._guides[index].describe()]
        key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]
        self._keys[index, first] = key
        return key


def _fingerprint(models: Models) -> str:
    """Digest of the architecture, of values from every tensor, and of the arithmetic they run in."""
    digest = hashlib.sha256(json.dumps(models.config.as_dict(), sort_keys=True).encode())
    for part in (models.dit, models.vae, models.text):
        for name, tensor in part.state_dict().items():
            values = tensor.flatten()[:: max(1, tensor.numel() // _SAMPLED)]
            digest.update(name.encode() + values.float().cpu().numpy().tobytes())
    device = next(models.dit.parameters()).device
    digest.update(f"{device.type} {autocast_dtype(device)} {torch.__version__}".encode())
    return digest.hexdigest()


def _digest_of(path: Path) -> str:
    """Digest of a picture's file. Raises MediaError when it cannot be read."""
    check_file(path)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise MediaError(f"cannot read {path}: {error.strerror or error}; check the path") from error
