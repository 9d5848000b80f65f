"""Every task of a film as a mask over one window of latents, and windows chained into films of any length.

| task | known |
|---|---|
| text_to_video, text_to_picture | nothing |
| image_to_video | the image slot (position 0) |
| extend, forward or backward | the last or first latents of a clip |
| connect, loop | both ends |
| edit | nothing: starts from the original, noised; windows overlap |

Each task yields `Progress` after every step and a `Chunk` as soon as latents are final, in the order in
which they are shown, so that decoding can stream and memory does not grow with length (backward extension
alone must wait for its last window).  Positions restart at 1 in every window.  Latents pass from window
to window and are never decoded in between.  The network is reached through `Take.denoise` only.
A memory (key latents of earlier shots, reference pictures) stands before every window of a take.
Axes: latents `b c f h w`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from longtake.diffusion import solver as solvers
from longtake.diffusion.sample import DenoiseAt, Known, Limits, Start, sample

if TYPE_CHECKING:
    from longtake.model.presets import ModelConfig

MEMORY_GAP = 8
"""Temporal positions between one remembered latent and the next, and from the last to the film: a cut."""


@dataclass(frozen=True)
class Take:
    """How to make latents: the denoiser (which holds the caption), the noise, and the shape of a window.

    denoise: (x_s, sigma, positions) -> x0, from `sample.predictor`.
    generator: a CPU generator; its seed decides everything random.
    window: latent frames the network was trained on, without the image slot.
    keep, sink: latents known in the next window: the most recent ones, and the first ones of the shot.
    history_sigma: noise level at which the latents kept are shown to the network.
    tolerance: how far channel statistics may leave those of the first window (see `Limits`); None: no limit.
    memory: latents (b c m h w) that every window sees as given, at positions -8, -16, ... before it, and that
        are no part of the result: who and where, from other shots (StoryMem, arXiv:2512.19539).
    levels: noise levels that the model was distilled to, where it was (see `solver.levels`).
    block: latent frames that are made at once, each block after those before it, by a model that sees only the past.
    whole: a short film is made in a whole window all the same, since the network knows no other.
    makes_first: a film begins with an image slot, which is made with it (Wan's first latent, of one frame).
    noise: changes the noise (b c n h w) of the n frames with these indices, which count what the task makes, from 0;
        an image slot of `makes_first` keeps its own.
    """

    denoise: DenoiseAt
    generator: torch.Generator
    steps: int = 8
    shift: float = 2.5
    solver: solvers.Name = "euler"
    window: int = 12
    keep: int = 6
    sink: int = 0
    history_sigma: float = 0.1
    tolerance: float | None = 0.15
    memory: Tensor | None = None
    levels: tuple[float, ...] = ()
    block: int | None = None
    whole: bool = True
    makes_first: bool = False
    noise: Callable[[Tensor, list[int]], Tensor] | None = None

    @classmethod
    def of(cls, config: ModelConfig, denoise: DenoiseAt, generator: torch.Generator, steps: int) -> Take:
        """As a model of this config asks for. One that sees only the past is shown it clean, as it was trained."""
        recipe = config.sampling
        take = cls(
            denoise, generator, steps, recipe.shift, recipe.solver, config.window, levels=recipe.levels,
            block=config.block, whole=config.whole_windows, makes_first=config.makes_first,
        )  # fmt: skip
        return take if config.block is None else replace(take, history_sigma=0.0, tolerance=None)

    def at_once(self, frames: int) -> int:
        """Latent frames that the first window makes of so many, the image slot not counted."""
        if self.block is not None:
            return self.block
        return self.window if self.whole else min(self.window, frames)

    def __post_init__(self) -> None:
        if self.keep < 1 or self.sink < 0 or self.keep + self.sink >= self.window:
            raise ValueError(
                f"keep {self.keep} + sink {self.sink} must be less than the window, {self.window}"
            )


@dataclass(frozen=True)
class Progress:
    """A step is done. `latents` are the present estimate of the frames being made, for a preview."""

    step: int
    steps: int
    made: int  # latent frames final before this window
    wanted: int  # latent frames in the whole task
    latents: Tensor

    @property
    def fraction(self) -> float:
        """Share of the task that is done, 0..1."""
        return min(1.0, (self.made + self.latents.shape[2] * self.step / self.steps) / self.wanted)


@dataclass(frozen=True)
class Chunk:
    """Final latents, the next ones in the order in which they are shown.

    lead: the image slot (b c 1 h w) that the decoder is fed before them, without being shown.
    """

    latents: Tensor
    lead: Tensor | None = None


Event = Progress | Chunk


def text_to_video(
    take: Take, frame: tuple[int, int, int, int], frames: int, start: Start | None = None
) -> Iterator[Event]:
    """`frames` latent frames of shape `frame` (b, c, h, w) from the caption alone.

    `start` (as many latents as a window) is what the first window begins from, in place of noise.
    """
    _check_frames(frames)
    if take.block is not None:
        window = take.block - take.makes_first
    else:
        window = take.window if start is not None else take.at_once(frames)
    if start is not None:
        slot = start.latents[:, :, : int(take.makes_first)]
        start = replace(start, latents=torch.cat([slot, start.latents[:, :, :window]], 2))
    yield from _open(take, _blank(frame, take.makes_first + window), frames, slots=0, start=start)


def text_to_picture(take: Take, frame: tuple[int, int, int, int]) -> Iterator[Event]:
    """One latent of shape `frame` (b, c, h, w) in the image slot, from the caption alone."""
    mask = torch.ones(1, dtype=torch.bool)
    window = _Window(_blank(frame, 1), known=~mask, target=mask, made=0, wanted=1, first_position=0)
    yield Chunk((yield from window.make(take)))


def image_to_video(take: Take, still: Tensor, frames: int) -> Iterator[Event]:
    """`frames` latent frames that follow a still (its latent, b c 1 h w), which is not part of the result."""
    _check_frames(frames)
    still = _clip(still)
    if still.shape[2] != 1:
        raise ValueError(f"the still must be one latent frame; got {still.shape[2]}")
    yield from _open(take, _padded(still, 1 + take.at_once(frames)), frames, slots=1)


def extend(take: Take, clip: Tensor, frames: int, backward: bool = False) -> Iterator[Event]:
    """The `frames` latent frames after a clip (b c f h w), or before it with `backward`, without the clip."""
    _check_frames(frames)
    yield from _continue(take, _clip(clip), frames, made=0, backward=backward)


def connect(take: Take, first: Tensor, last: Tensor, frames: int = 4) -> Iterator[Event]:
    """The `frames` latent frames that lead from the end of clip `first` to the beginning of clip `last`."""
    first, last = _clip(first), _clip(last)
    if not 1 <= frames <= take.window - 2:
        raise ValueError(
            f"a bridge has 1 to {take.window - 2} latent frames, got {frames}; for more, extend `first` too"
        )
    room = take.window - frames
    before = min(first.shape[2], max((room + 1) // 2, room - last.shape[2]))
    after = min(last.shape[2], room - before)
    given = torch.cat(
        [_padded(first[:, :, first.shape[2] - before :], before + frames), last[:, :, :after]], 2
    )
    target = _span(given.shape[2], before, before + frames)
    window = _Window(given, known=~target, target=target, made=0, wanted=frames)
    yield Chunk((yield from window.make(take)))


def loop(take: Take, clip: Tensor, frames: int = 4) -> Iterator[Event]:
    """The `frames` latent frames that lead from the end of a clip back to its beginning."""
    yield from connect(take, clip, clip, frames)


def edit(take: Take, clip: Tensor, strength: float = 0.6, overlap: int = 4) -> Iterator[Event]:
    """A clip made again from itself noised to `strength`: as many latent frames, the caption of `take`."""
    clip = _clip(clip)
    if not 0 <= overlap < take.window:
        raise ValueError(f"the overlap must be 0 to {take.window - 1} latent frames; got {overlap}")
    wanted = clip.shape[2]
    size = min(take.window, wanted)
    edited = clip[:, :, :0]  # the latest edited frames, as many as a window can overlap
    made = 0
    while made < wanted:
        begin = 0 if made == 0 else min(made - overlap, wanted - size)
        original = clip[:, :, begin : begin + size]
        shared = made - begin
        given = torch.cat([edited[:, :, edited.shape[2] - shared :], original[:, :, shared:]], 2)
        known = _span(size, 0, shared)
        start = Start(original, strength)
        window = _Window(given, known, ~known, made, wanted, sigma=take.history_sigma, start=start)
        fresh = yield from window.make(take)
        yield Chunk(fresh)
        edited = torch.cat([edited, fresh], 2)[:, :, -take.window :]
        made += fresh.shape[2]


def collect(events: Iterable[Event]) -> Tensor:
    """Run a task to its end and return all its latents (b c f h w)."""
    return torch.cat([event.latents for event in events if isinstance(event, Chunk)], 2)


@dataclass(frozen=True)
class _Window:
    """One window to sample: `given` latents where `known`, and the `target` frames to return."""

    given: Tensor  # b c f h w
    known: Tensor  # f bool
    target: Tensor  # f bool
    made: int
    wanted: int
    first_position: int = 1
    sigma: float = 0.0
    start: Start | None = None
    limits: Limits | None = None

    def make(self, take: Take) -> Generator[Progress, None, Tensor]:
        """Sample; yields progress and returns the target frames."""
        positions = torch.arange(self.given.shape[2]) + self.first_position
        if take.memory is None:
            return (yield from self._make(take, positions))
        gaps = -MEMORY_GAP * torch.arange(take.memory.shape[2], 0, -1)
        return (yield from self._after(_clip(take.memory))._make(take, torch.cat([gaps, positions])))

    def _after(self, memory: Tensor) -> _Window:
        """The same window with a memory before it."""
        kept = torch.ones(memory.shape[2], dtype=torch.bool)
        start = self.start
        return replace(
            self,
            given=torch.cat([memory, self.given], 2),
            known=torch.cat([kept, self.known]),
            target=torch.cat([~kept, self.target]),
            start=start and replace(start, latents=torch.cat([memory, start.latents], 2)),
        )

    def _make(self, take: Take, positions: Tensor) -> Generator[Progress, None, Tensor]:
        known = Known(self.given, self.known, self.sigma) if bool(self.known.any()) else None
        latents = self.given
        for step in sample(
            lambda x, sigma: take.denoise(x, sigma, positions),
            tuple(self.given.shape),
            take.generator,
            known=known,
            start=self.start,
            limits=self.limits,
            steps=take.steps,
            shift=take.shift,
            solver=take.solver,
            distilled=take.levels,
            noise=lambda x: self._noise(take, x, positions),
        ):
            latents = step.latents[:, :, self.target]
            yield Progress(step.index, step.total, self.made, self.wanted, latents)
        return latents

    def _noise(self, take: Take, noise: Tensor, positions: Tensor) -> Tensor:
        """The noise as `take.noise` wants it in the frames that are made."""
        made = self.target & (positions > 0) if take.makes_first else self.target
        count = int(made.sum())
        if take.noise is None or not count:
            return noise
        noise = noise.clone()
        noise[:, :, made] = take.noise(noise[:, :, made], list(range(self.made, self.made + count)))
        return noise


def _open(take: Take, given: Tensor, wanted: int, slots: int, start: Start | None = None) -> Iterator[Event]:
    """The first window of a film, known only in its image slot if it has one, and the windows after it."""
    slot = max(slots, int(take.makes_first))
    known = _span(given.shape[2], 0, slots)
    target = _span(given.shape[2], 0 if take.makes_first else slots, min(slot + wanted, given.shape[2]))
    window = _Window(given, known, target, 0, wanted, first_position=1 - slot, start=start)
    made = yield from window.make(take)
    opening = made[:, :, 1:] if take.makes_first else made
    yield Chunk(opening, made[:, :, :1] if take.makes_first else None)
    yield from _continue(take, made, wanted, made=opening.shape[2])


def _continue(take: Take, clip: Tensor, wanted: int, made: int, backward: bool = False) -> Iterator[Event]:
    """Go on from `clip` window by window until `made` has grown to `wanted`.

    Backward is the same walk over a mirrored time axis; each window is mirrored back before it is sampled.
    The window stays full at the end, by keeping more of the past, since that is what the network knows.
    """
    clip = clip.flip(2) if backward else clip
    limits = None if take.tolerance is None else Limits.of(clip[:, :, : take.window], take.tolerance)
    opening, recent, seen = clip[:, :, : take.sink], clip[:, :, -take.window - 1 :], clip.shape[2]
    held_back: list[Tensor] = []
    while made < wanted:
        fresh, size, length = _stretch(take, seen, wanted - made)
        past = _past(opening, recent, seen, size)
        given = _padded(past, length)
        known = _span(length, 0, size)
        target = _span(length, size, size + fresh)
        if backward:
            given, known, target = given.flip(2), known.flip(0), target.flip(0)
        first = 1 if take.block is None else 0
        window = _Window(given, known, target, made, wanted, first, take.history_sigma, limits=limits)
        latents = yield from window.make(take)
        if backward:
            held_back.insert(0, latents)
        else:
            yield Chunk(latents)
        walked = latents.flip(2) if backward else latents
        recent = torch.cat([recent, walked], 2)[:, :, -take.window - 1 :]
        made, seen = made + fresh, seen + fresh
    yield from map(Chunk, held_back)


def _stretch(take: Take, seen: int, left: int) -> tuple[int, int, int]:
    """Latents made in the next window, those it remembers, and its length, when `left` are still to be made."""
    if take.block is not None:
        size = min(seen, take.window + take.makes_first - take.block)
        return min(left, take.block), size, size + take.block
    fresh = min(left, take.window - min(seen, take.keep + take.sink))
    return fresh, min(seen, take.window - fresh), take.window


def _past(opening: Tensor, recent: Tensor, seen: int, size: int) -> Tensor:
    """The `size` latents to remember out of `seen`: all of it if it fits, else the opening and the end."""
    sink = 0 if seen <= size else opening.shape[2]
    return torch.cat([opening[:, :, :sink], recent[:, :, recent.shape[2] - (size - sink) :]], 2)


def _span(length: int, begin: int, end: int) -> Tensor:
    """A mask over `length` frames that is true from `begin` up to `end`."""
    index = torch.arange(length)
    return (begin <= index) & (index < end)


def _blank(frame: tuple[int, int, int, int], frames: int) -> Tensor:
    """Latents of which nothing is known, for frames of shape (b, c, h, w)."""
    batch, channels, height, width = frame
    return torch.zeros(batch, channels, frames, height, width)


def _padded(latents: Tensor, frames: int) -> Tensor:
    """These latents followed by as many unknown ones as make up `frames`."""
    batch, channels, present, height, width = latents.shape
    return torch.cat([latents, _blank((batch, channels, height, width), frames - present)], 2)


def _clip(latents: Tensor) -> Tensor:
    """A user's latents as the sampler wants them: float32 on the CPU, at least one frame."""
    if latents.ndim != 5 or latents.shape[2] < 1:
        raise ValueError(f"a clip is b c f h w with at least one frame; got shape {list(latents.shape)}")
    return latents.float().cpu()


def _check_frames(frames: int) -> None:
    if frames < 1:
        raise ValueError(f"at least one latent frame must be asked for; got {frames}")
