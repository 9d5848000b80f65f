"""What happens to models that are trained on what models made, and does the guard prevent it?

A tiny picture model is trained from scratch for several generations; each generation's training set mixes real
pictures with those the generation before made. Shumailov et al. 2024 (Nature 631) and Alemohammad et al. 2023
(arXiv:2307.01850) show that such models lose the variety of the real pictures; Gerstgrasser et al. 2024
(arXiv:2404.01413) that real pictures keep the loss bounded. With the guard on, every file of a training set passes
`curate.guard.admit` first, as footage does before `longtake train`, and only admitted files are trained on.

Real pictures are stills of random scenes on our own stage, 20x12. The model is an instance of `diffusion.flow`: a
small network that predicts x0 of the pictures' principal components (a frozen latent space), sampled with Euler steps.
Made pictures are PNGs with the metadata the pipeline writes. They are far too small for a pixel mark or a readable
label, so the guard knows them by metadata alone: this shows why to guard, not how hard the marks are to remove
(`evaluate.marks` does).
"""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from longtake.curate.guard import Admission, admit, digest
from longtake.errors import OutputError, RequestError
from longtake.evaluate.distribution import Components, diversity, frechet, recall
from longtake.evaluate.tiny import Recipe, TinyFlow, draw, train
from longtake.model.tensorfile import read_safetensors, write_safetensors
from longtake.provenance import aigc
from longtake.request import Request

WIDTH, HEIGHT = 20, 12
RENDERED = 4
"""The stage draws pictures this many times as large; they are area-averaged."""
LATENTS, FEATURES = 32, 32
MIXES = {"clean": 0.0, "half": 0.5, "most": 0.9, "replace": 1.0}
"""Share of a training set that the generation before made."""
ROWS = "results.jsonl"

Key = tuple[int, str, bool, int]
"""Seed, mix, guard, generation."""
Pictures = np.ndarray[Any, np.dtype[np.uint8]]
"""n h w 3"""


@dataclass(frozen=True)
class CollapsePlan:
    """What to run. Everything is kept in `out`; a run that was interrupted goes on where it was."""

    out: Path
    seeds: int = 3
    generations: int = 5
    pictures: int = 300
    """In a training set, in the held-out set, and made by each generation."""
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.generations < 2:
            raise RequestError("collapse needs at least one seed and two generations")
        if self.pictures < 20:
            raise RequestError("collapse needs at least 20 pictures, of which the mix `most` leaves 2 real")
        if self.recipe.steps < 1:
            raise RequestError("a model needs at least one step of training; give --steps 1 or more")

    def settings(self) -> dict[str, Any]:
        """What results depend on; seeds and generations may be added to a finished run."""
        return {"pictures": self.pictures, **asdict(self.recipe)}


@dataclass(frozen=True)
class Row:
    """One generation of one chain, measured against held-out real pictures."""

    seed: int
    mix: str
    guard: bool
    generation: int
    trained_on: int
    """Pictures; 0 when nothing was admitted and the model of the generation before was kept."""
    real: int
    """How many of them were real."""
    refused: int
    frechet: float
    diversity: float
    recall: float
    precision: float

    @property
    def key(self) -> Key:
        return self.seed, self.mix, self.guard, self.generation


def run(plan: CollapsePlan) -> Iterator[Row]:
    """Every generation as it is measured; those of an earlier sitting first. Raises OutputError, RequestError."""
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        _check_settings(plan)
        done = {row.key: row for row in read_rows(plan.out / ROWS)}
        for seed in range(plan.seeds):
            yield from _Seed(plan, seed, done).generations()
    except OSError as error:
        raise OutputError(
            f"cannot write to {plan.out}: {error.strerror or error}; choose another --out"
        ) from error


def read_rows(path: Path) -> list[Row]:
    """The rows kept so far; a last line that was cut off is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(Row(**json.loads(line)))
        except (ValueError, TypeError):
            break
    return rows


def kept_pictures(plan: CollapsePlan, key: Key) -> Pictures:
    """What a generation made."""
    return np.asarray(_state(plan, key)["pictures"].numpy())


def real_pictures(plan: CollapsePlan, seed: int) -> tuple[Pictures, Pictures]:
    """Training pool and held-out set of a seed, drawn on the stage once and kept."""
    path = plan.out / "state" / f"real-{seed}.npz"
    if not path.exists():
        both = render(2 * plan.pictures, seed)
        path.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            np.savez_compressed(file, pictures=both)
        Path(file.name).replace(path)
    both = np.load(path)["pictures"]
    return both[: plan.pictures], both[plan.pictures :]


def render(count: int, seed: int) -> Pictures:
    """Stills of random scenes of the pocket vocabulary, each at a random moment."""
    from longtake.train.data import window
    from longtake.world.atlas import Atlas
    from longtake.world.choreography import choreograph
    from longtake.world.sampler import PRESETS, codes, sample_scene
    from longtake.world.stage import Stage

    vocabulary = PRESETS["pocket"]
    atlas = Atlas.load(None, codes(vocabulary))
    stage = Stage(atlas, HEIGHT * RENDERED, WIDTH * RENDERED)
    rng = random.Random(f"collapse {seed}")
    moments = []
    for _ in range(count):
        tracks = choreograph(sample_scene(rng, vocabulary), atlas, WIDTH / HEIGHT)
        moments.append(window(tracks, rng.randrange(len(tracks.camera["cx"])), 1))
    parts = [stage.render(moments[i : i + 16])[:, :, 0] for i in range(0, count, 16)]
    small = torch.nn.functional.avg_pool2d(torch.cat(parts), RENDERED)
    return np.asarray((small * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())


def write_pictures(
    folder: Path, name: str, pictures: Pictures, tags: dict[str, str] | None = None
) -> list[Path]:
    """PNG files, with the metadata `tags` of made pictures or without any, as real footage comes."""
    paths = [folder / f"{name}-{i:05}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        info = PngInfo()
        for key, value in (tags or {}).items():
            info.add_itxt(key, value)
        Image.fromarray(picture).save(path, pnginfo=info)
    return paths


def made_tags(seed: int, generation: int, mix: str) -> dict[str, str]:
    """The metadata of a made picture: the request's size is that of the smallest picture one can ask for."""
    request = Request(prompt="a still of a random scene", size="214x128", seed=seed)
    weights = f"collapse-{mix}-{generation - 1}"
    said = {"pixel_mark": f"none: {WIDTH}x{HEIGHT} is too small", "latent_mark": "none"}
    return aigc.tags(request, weights, "", said)


class _Seed:
    """All chains of one seed, generation by generation."""

    def __init__(self, plan: CollapsePlan, seed: int, done: dict[Key, Row]) -> None:
        self._plan, self._seed, self._done = plan, seed, done
        self._admissions: dict[str, Admission] = {}

    def generations(self) -> Iterator[Row]:
        chains = [(mix, guard) for mix in MIXES for guard in (False, True)]
        keys = [(self._seed, m, g, n) for n in range(1, self._plan.generations + 1) for m, g in chains]
        if all(key in self._done for key in keys):
            yield from (self._done[key] for key in keys)
            return
        self._pool, held = real_pictures(self._plan, self._seed)
        self._space = Components.of(_flat(self._pool), LATENTS)
        self._features = Components.of(_flat(self._pool), FEATURES)
        self._held = self._features.features(_flat(held))
        trained: dict[str, TinyFlow] = {}
        for key in keys:
            if key not in self._done:
                _append(self._plan.out / ROWS, self._generation(key, trained))
                self._done[key] = read_rows(self._plan.out / ROWS)[-1]
            yield self._done[key]
            if key[1:3] == chains[-1]:
                trained.clear()

    def _generation(self, key: Key, trained: dict[str, TinyFlow]) -> Row:
        _, mix, guard, generation = key
        with tempfile.TemporaryDirectory(dir=self._plan.out) as folder:
            offered = self._offer(Path(folder), mix, guard, generation)
            admitted = [path for path in offered if not guard or self._admitted(path)]
            network = self._model(key, admitted, trained)
            real = sum(path.name.startswith("real") for path in admitted)
        noise = torch.Generator().manual_seed(1000 * self._seed + generation)
        latents = draw(network, self._plan.pictures, noise)
        values = self._space.restore(latents.double().numpy()).reshape(-1, HEIGHT, WIDTH, 3)
        pictures: Pictures = (values * 255).round().clip(0, 255).astype(np.uint8)
        state = {"pictures": torch.from_numpy(pictures), **network.state_dict()}
        write_safetensors(_state_file(self._plan, key), state, {})
        made = self._features.features(_flat(pictures))
        return Row(
            *key,
            trained_on=len(admitted),
            real=real,
            refused=len(offered) - len(admitted),
            frechet=frechet(made, self._held),
            diversity=diversity(made, self._held),
            recall=recall(made, self._held),
            precision=recall(self._held, made),
        )

    def _offer(self, folder: Path, mix: str, guard: bool, generation: int) -> list[Path]:
        """The files a generation could be trained on; the first generation has real ones only."""
        count = self._plan.pictures
        made = 0 if generation == 1 else round(MIXES[mix] * count)
        rng = np.random.default_rng([self._seed, generation])
        real = self._pool[np.sort(rng.permutation(count)[: count - made])]
        paths = write_pictures(folder, "real", real)
        if made:
            before = kept_pictures(self._plan, (self._seed, mix, guard, generation - 1))
            chosen = before[np.sort(rng.permutation(count)[:made])]
            paths += write_pictures(folder, "made", chosen, made_tags(self._seed, generation, mix))
        return paths

    def _admitted(self, path: Path) -> bool:
        """The guard's decision; it depends on the bytes alone, so equal files are asked about once."""
        sha = digest(path)
        if sha not in self._admissions:
            self._admissions[sha] = admit(path)
        return self._admissions[sha].decision == "admitted"

    def _model(self, key: Key, files: Sequence[Path], trained: dict[str, TinyFlow]) -> TinyFlow:
        """A new model trained on the files; without any, the one before. Equal sets give the same model."""
        seed, mix, guard, generation = key
        network = TinyFlow(len(self._space.spread), self._plan.recipe, seed=100 * seed + generation)
        if not files:
            before = _state(self._plan, (seed, mix, guard, generation - 1))
            del before["pictures"]
            network.load_state_dict(before)
            return network
        name = hashlib.sha256("".join(digest(path) for path in files).encode()).hexdigest()
        if name not in trained:
            pictures = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])
            latents = torch.from_numpy(self._space.whiten(_flat(pictures))).float()
            train(network, latents, self._plan.recipe, seed=100 * seed + generation)
            trained[name] = network
        return trained[name]


def _flat(pictures: Pictures) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(pictures.reshape(len(pictures), -1) / 255.0)


def _check_settings(plan: CollapsePlan) -> None:
    path = plan.out / "settings.json"
    if not path.exists():
        path.write_text(json.dumps(plan.settings()) + "\n", encoding="utf-8")
    elif path.read_text(encoding="utf-8").strip() != json.dumps(plan.settings()):
        raise RequestError(f"{plan.out} holds a run with other settings; give the same, or another --out")


def _state_file(plan: CollapsePlan, key: Key) -> Path:
    seed, mix, guard, generation = key
    return plan.out / "state" / f"{seed}-{mix}-{'on' if guard else 'off'}-{generation}.safetensors"


def _state(plan: CollapsePlan, key: Key) -> dict[str, torch.Tensor]:
    """Network and pictures of a generation."""
    return read_safetensors(_state_file(plan, key))[0]


def _append(path: Path, row: Row) -> None:
    """Whole file anew and renamed: a line is there or not, never half."""
    lines = [json.dumps(asdict(old)) for old in read_rows(path)] + [json.dumps(asdict(row))]
    beside = path.with_suffix(".part")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(path)
