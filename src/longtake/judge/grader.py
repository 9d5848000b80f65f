"""The grader: a small network that says what a film shows, from its pixels alone.

It is trained on rendered clips with the stage's exact labels (train/grader.py) and knows nothing of the model
it judges: no latents, no captions. One branch looks at single frames (who is where, place, time, weather,
shot scale), a second one reads the first one's findings over time (action, direction, camera move).
Axes: frames b t 3 h w in [0, 1], at the size the pocket encoder reads; maps b t s y x (s subjects, 8 pixels a cell).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.errors import WeightsError
from longtake.model.tensorfile import load_strictly, read_safetensors, write_safetensors

SHIPPED = Path(__file__).parent.parent / "weights" / "grader.safetensors"
CELL = 8
"""Pixels of one cell of the maps."""
GLOBAL = ("place", "time", "weather", "shot")
"""What is one word a clip and shows in a single frame."""
MOTION = ("action", "direction", "camera")
"""What takes several frames to see."""


@dataclass(frozen=True)
class Words:
    """The words a grader can tell apart; the order is that of its outputs."""

    subject: tuple[str, ...]
    place: tuple[str, ...]
    time: tuple[str, ...]
    weather: tuple[str, ...]
    shot: tuple[str, ...]
    action: tuple[str, ...]
    direction: tuple[str, ...]
    camera: tuple[str, ...]

    def index(self, slot: str, word: str) -> int:
        """Place of `word` among the words of `slot`, -1 if it has none."""
        words: tuple[str, ...] = getattr(self, slot)
        return words.index(word) if word in words else -1


@dataclass(frozen=True)
class Seen:
    """Raw outputs for a batch of clips, all logits but `size`."""

    maps: Tensor
    """b t s y x: is the centre of this subject in this cell?"""
    sizes: Tensor
    """b t 4 y x: offset of the centre within the cell (x, y, in cells), log of the box's width and height."""
    words: Mapping[str, Tensor]
    """slot -> b n for MOTION, b t n for GLOBAL."""


class Block(nn.Module):
    """x + two normalised convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return x + out


class Grader(nn.Module):
    """About two million parameters; fully convolutional, so any size in multiples of 16 pixels will do."""

    def __init__(self, words: Words, widths: tuple[int, int, int] = (48, 96, 160), motion: int = 128) -> None:
        super().__init__()
        self.words, self.widths, self.motion = words, widths, motion
        fine, middle, coarse = widths
        subjects = len(words.subject)
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, fine, 3, padding=1), Block(fine))
        self.down1 = nn.Sequential(nn.Conv2d(fine, middle, 2, stride=2), Block(middle), Block(middle))
        self.down2 = nn.Sequential(nn.Conv2d(middle, coarse, 2, stride=2), Block(coarse), Block(coarse))
        self.up = nn.Sequential(nn.Conv2d(coarse, 4 * middle, 1), nn.PixelShuffle(2))
        self.join = Block(middle)
        self.maps = nn.Conv2d(middle, subjects, 1)
        self.sizes = nn.Conv2d(middle, 4, 1)
        self.pooled = nn.Linear(2 * coarse, motion)
        self.heads = nn.ModuleDict({slot: nn.Linear(motion, len(getattr(words, slot))) for slot in GLOBAL})
        # what moves: the findings of each frame, and how they change
        self.over_time = nn.Sequential(
            nn.Conv1d(2 * (motion + 5), motion, 1), nn.SiLU(),
            nn.Conv1d(motion, motion, 3, padding=1), nn.SiLU(),
            nn.Conv1d(motion, motion, 3, padding=1), nn.SiLU(),
        )  # fmt: skip
        self.motion_heads = nn.ModuleDict(
            {slot: nn.Linear(2 * motion, len(getattr(words, slot))) for slot in MOTION}
        )
        nn.init.constant_(self.maps.bias, -4.0)  # type: ignore[arg-type]  # most cells hold no centre

    def forward(self, frames: Tensor) -> Seen:
        """Frames b t 3 h w in [0, 1], h and w multiples of 16."""
        b = len(frames)
        x = rearrange(frames, "b t c h w -> (b t) c h w") * 2 - 1
        fine = self.down1(self.stem(x.contiguous(memory_format=torch.channels_last)))
        coarse = self.down2(fine)
        joined = F.silu(self.join(fine + self.up(coarse)))
        maps = rearrange(self.maps(joined), "(b t) s y x -> b t s y x", b=b)
        sizes = rearrange(self.sizes(joined), "(b t) k y x -> b t k y x", b=b)
        pooled = F.silu(self.pooled(torch.cat([coarse.mean((2, 3)), coarse.amax((2, 3))], -1)))
        pooled = rearrange(pooled, "(b t) d -> b t d", b=b)
        words = {slot: head(pooled) for slot, head in self.heads.items()}
        found = torch.cat([pooled, track(maps.float(), sizes.float()).to(pooled.dtype)], -1)  # b t d
        change = F.pad(found.diff(dim=1), (0, 0, 1, 0))
        moving = self.over_time(rearrange(torch.cat([found, 8 * change], -1), "b t d -> b d t"))
        summary = torch.cat([moving.mean(2), moving.amax(2)], -1)
        words |= {slot: head(summary) for slot, head in self.motion_heads.items()}
        return Seen(maps, sizes, words)


def track(maps: Tensor, sizes: Tensor) -> Tensor:
    """Where the most certain subject of the clip is: x y w h as shares of the picture, and certainty; b t 5."""
    b, t, _, y, x = maps.shape
    certain = maps.sigmoid()
    lead = certain.amax((3, 4)).mean(1).argmax(1)  # b
    own = certain[torch.arange(b), :, lead].flatten(2)  # b t (y x)
    best, place = own.max(2)
    picked = sizes.flatten(3).gather(3, place[:, :, None, None].expand(b, t, 4, 1))[..., 0]  # b t 4
    column = (place % x + 0.5 + picked[..., 0]) / x
    row = (place // x + 0.5 + picked[..., 1]) / y
    extent = picked[..., 2:].clamp(-6, 1).exp()
    return torch.stack([column, row, extent[..., 0], extent[..., 1], best], -1)


def save(grader: Grader, path: Path, extra: Mapping[str, float]) -> None:
    """Weights in bf16, with the words in the header. Raises OutputError."""
    header = {"words": json.dumps(asdict(grader.words)), "extra": json.dumps(dict(extra))}
    header |= {"shape": json.dumps([list(grader.widths), grader.motion])}
    write_safetensors(path, {k: v.bfloat16() for k, v in grader.state_dict().items()}, header)


def load(path: Path = SHIPPED) -> Grader:
    """The grader in this file; the shipped one by default. Raises WeightsError when there is none."""
    try:
        tensors, header = read_safetensors(path)
        words = Words(**{slot: tuple(names) for slot, names in json.loads(header["words"]).items()})
        widths, motion = json.loads(header["shape"])
        grader = Grader(words, tuple(widths), motion)
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} holds no grader; train one: longtake train grader") from error
    load_strictly(grader, {k: v.float() for k, v in tensors.items()}, path)
    return grader.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@lru_cache(maxsize=1)
def shipped() -> Grader:
    """The grader that comes with the package, loaded once."""
    return load()
