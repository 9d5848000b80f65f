"""Grounds, skies and falling weather of the theatre's places, all computed: no picture files.

`look(place, time)` says how a place looks; `ground(name)` and `sky(...)` draw the textures. Everything is float32
in 0..1, channels first, and depends on nothing but its arguments, so the same scene has the same scenery everywhere.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

SKY_WIDTH, SKY_HEIGHT = 1024, 192
"""A panorama covers 180 degrees (and repeats), from the horizon (last row) to SKY_TOP above it (first row)."""
SKY_TOP = math.radians(48)
TILE = 256
"""Side of a ground texture; it repeats every TILE_METRES."""
TILE_METRES = 4.0

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """What the stage needs to know of a place at a time of day."""

    ground: str
    horizon: str
    indoor: bool = False
    wet: float = 0.0
    """How much the dry ground mirrors, 0..1."""
    haze: float = 0.25
    water: bool = False
    """The whole scene is under water."""


PLACES: dict[str, Look] = {
    "snowy_field": Look("snow", "pines_far"),
    "pine_forest": Look("moss", "pines"),
    "meadow": Look("grass", "hills"),
    "beach": Look("sand", "sea"),
    "desert": Look("dune", "dunes"),
    "neon_street": Look("asphalt", "neon", wet=0.45),
    "village_street": Look("cobble", "roofs"),
    "park": Look("grass", "trees"),
    "bedroom": Look("carpet", "bedroom_wall", indoor=True, haze=0.0),
    "living_room": Look("wood", "living_wall", indoor=True, haze=0.0),
    "kitchen": Look("tiles", "kitchen_wall", indoor=True, haze=0.0),
    "classroom": Look("wood", "board_wall", indoor=True, haze=0.0),
    "stage": Look("boards", "curtain", indoor=True, haze=0.0, wet=0.15),
    "warehouse": Look("concrete", "shelves", indoor=True, haze=0.1),
    "castle_courtyard": Look("cobble", "battlements"),
    "mountain": Look("rock", "peaks"),
    "lake_shore": Look("pebbles", "lake"),
    "undersea": Look("seabed", "deep", haze=0.9, water=True),
    "moon": Look("dust", "space", haze=0.0),
    "outer_space": Look("void", "space", haze=0.0),
    "farm": Look("field", "hills"),
    "market": Look("cobble", "stalls"),
    "rooftop": Look("concrete", "skyline"),
    "garden": Look("grass", "hedge"),
    "football_pitch": Look("pitch", "stands"),
}

TINTS: dict[str, Rgb] = {
    "dawn": (1.0, 0.86, 0.88),
    "morning": (1.0, 0.98, 0.94),
    "noon": (1.0, 1.0, 1.0),
    "sunset": (1.04, 0.80, 0.62),
    "night": (0.46, 0.52, 0.82),
}
INDOOR_TINTS: dict[str, Rgb] = {
    "dawn": (0.98, 0.88, 0.86),
    "morning": (1.0, 0.98, 0.95),
    "noon": (1.0, 1.0, 1.0),
    "sunset": (1.03, 0.84, 0.68),
    "night": (0.72, 0.60, 0.52),
}
_SKIES: dict[str, tuple[Rgb, Rgb]] = {
    "dawn": ((0.52, 0.60, 0.82), (1.0, 0.76, 0.70)),
    "morning": ((0.36, 0.62, 0.93), (0.84, 0.92, 0.98)),
    "noon": ((0.22, 0.52, 0.92), (0.74, 0.88, 0.99)),
    "sunset": ((0.36, 0.22, 0.46), (1.0, 0.56, 0.26)),
    "night": ((0.02, 0.03, 0.10), (0.09, 0.12, 0.27)),
}


def look(place: str) -> Look:
    return PLACES[place]


def tint(place: str, time: str) -> Rgb:
    """Colour that multiplies everything not self-lit."""
    return (INDOOR_TINTS if PLACES[place].indoor else TINTS)[time]


# ---- grounds -----------------------------------------------------------------------------------------------------


def _noise(size: int, octaves: tuple[int, ...], seed: int) -> Tensor:
    """Tileable value noise in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(size, size)
    for i, cells in enumerate(octaves):
        grid = torch.rand(1, 1, cells, cells, generator=generator)
        grid = F.pad(grid, (2, 2, 2, 2), mode="circular")
        big = F.interpolate(
            grid, size=(size * (cells + 4) // cells,) * 2, mode="bicubic", align_corners=False
        )
        edge = 2 * size // cells
        total += big[0, 0, edge : edge + size, edge : edge + size] * 0.6**i
    return (total - total.min()) / (total.max() - total.min())


def _ramp(t: Tensor, low: Rgb, high: Rgb) -> Tensor:
    a, b = torch.tensor(low)[:, None, None], torch.tensor(high)[:, None, None]
    return a + (b - a) * t


@lru_cache(maxsize=64)
def ground(name: str) -> Tensor:
    """A tileable ground, [3 TILE TILE]."""
    y, x = torch.meshgrid(torch.arange(TILE) / TILE, torch.arange(TILE) / TILE, indexing="ij")
    seed = sum(map(ord, name))
    soft, fine = _noise(TILE, (4, 8, 16), seed), _noise(TILE, (32, 64), seed + 1)
    mixed = 0.5 * soft + 0.5 * fine
    plank = ((x * 8) % 1 < 0.05).float()
    joint = (((x * 8 + (y * 8).floor() % 2 * 0.5) % 1 - 0.5).abs() > 0.44) | (
        ((y * 8) % 1 - 0.5).abs() > 0.44
    )
    square = (((x * 8) % 1 < 0.05) | ((y * 8) % 1 < 0.05)).float()
    stripe = ((y * 2).floor() % 2).expand_as(x)
    match name:
        case "snow":
            return _ramp(soft, (0.84, 0.89, 0.96), (0.97, 0.98, 1.0))
        case "grass" | "field":
            warm = 0.16 if name == "field" else 0.0
            return _ramp(mixed, (0.20 + warm, 0.44, 0.12), (0.42 + warm, 0.66, 0.22))
        case "pitch":
            return _ramp(fine, (0.16, 0.46, 0.16), (0.26, 0.58, 0.22)) * (1 - 0.12 * stripe)
        case "moss":
            return _ramp(mixed, (0.17, 0.26, 0.12), (0.36, 0.40, 0.20))
        case "asphalt":
            return _ramp(mixed, (0.11, 0.11, 0.14), (0.22, 0.22, 0.26))
        case "wood":
            return _ramp(0.7 * soft, (0.76, 0.55, 0.35), (0.56, 0.36, 0.20)) * (1 - 0.28 * plank)
        case "boards":
            return _ramp(0.7 * soft, (0.45, 0.26, 0.15), (0.30, 0.16, 0.09)) * (1 - 0.3 * plank)
        case "sand" | "seabed":
            return _ramp(mixed, (0.86, 0.75, 0.52), (0.95, 0.87, 0.67))
        case "dune":
            wave = 0.5 + 0.5 * torch.sin(2 * math.pi * (6 * y + 0.6 * torch.sin(2 * math.pi * x)))
            return _ramp(0.6 * wave + 0.4 * soft, (0.83, 0.55, 0.28), (0.93, 0.69, 0.40))
        case "cobble":
            return _ramp(fine, (0.48, 0.46, 0.45), (0.63, 0.61, 0.59)) * (1 - 0.3 * joint.float())
        case "tiles":
            checker = ((x * 4).floor() + (y * 4).floor()) % 2
            return _ramp(checker, (0.70, 0.78, 0.82), (0.94, 0.95, 0.95)) * (1 - 0.1 * square)
        case "concrete":
            return _ramp(mixed, (0.50, 0.50, 0.50), (0.62, 0.62, 0.61)) * (1 - 0.12 * square)
        case "rock":
            return _ramp(mixed, (0.36, 0.34, 0.33), (0.58, 0.55, 0.52))
        case "pebbles":
            return _ramp(fine, (0.44, 0.43, 0.42), (0.70, 0.68, 0.65))
        case "dust":
            return _ramp(mixed, (0.42, 0.42, 0.44), (0.62, 0.62, 0.63))
        case "carpet":
            return _ramp(fine, (0.52, 0.30, 0.38), (0.62, 0.38, 0.46))
        case "void":
            return torch.zeros(3, TILE, TILE)
    raise ValueError(f"no ground called {name!r}")


# ---- skies and walls ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=128)
def sky(place: str, time: str, clouds: bool) -> Tensor:
    """What stands behind the stage, [3 SKY_HEIGHT SKY_WIDTH], the horizon in the last row."""
    horizon = PLACES[place].horizon
    rng = random.Random(horizon)
    if PLACES[place].indoor:
        return _wall(horizon, time, rng).clamp(0, 1)
    picture = _open_sky(horizon, time, clouds)
    return _skyline(picture, horizon, time, rng).clamp(0, 1)


def _open_sky(horizon: str, time: str, clouds: bool) -> Tensor:
    height = torch.linspace(0, 1, SKY_HEIGHT)[None, :, None].expand(1, SKY_HEIGHT, SKY_WIDTH)
    top, low = _SKIES[time]
    if horizon == "space":
        top = low = (0.01, 0.01, 0.03)
    elif horizon == "deep":
        top, low = (0.10, 0.50, 0.72), (0.03, 0.24, 0.42)
    elif horizon == "neon" and time == "night":
        top, low = (0.04, 0.02, 0.12), (0.36, 0.10, 0.42)
    picture = _ramp(height[0] ** 1.6, top, low)
    if time == "night" or horizon == "space":
        generator = torch.Generator().manual_seed(1)
        stars = torch.zeros(SKY_HEIGHT * SKY_WIDTH)
        spot = torch.randint(0, SKY_HEIGHT * SKY_WIDTH, (500,), generator=generator)
        stars[spot] = 0.4 + 0.6 * torch.rand(500, generator=generator)
        stars = F.max_pool2d(stars.reshape(1, 1, SKY_HEIGHT, SKY_WIDTH), (2, 2), 1)[0, 0]
        stars = F.pad(stars, (0, 1, 0, 1))
        picture = picture + stars * (1 - 0.8 * height[0])
    elif clouds and horizon != "deep":
        cloud = F.interpolate(
            _noise(256, (4, 8, 16, 32), 7)[None, None], size=(SKY_HEIGHT * 2, SKY_WIDTH // 2)
        )
        cloud = torch.cat([cloud, cloud.flip(-1)], -1)[0, 0, :SKY_HEIGHT]
        cover = ((cloud - 0.52) * 5).clamp(0, 1) * (0.9 - 0.5 * height[0])
        tone = torch.tensor(_SKIES[time][1])[:, None, None] * 0.4 + 0.6
        picture = picture * (1 - cover) + tone * cover
    return picture


def _shade(time: str, colour: Rgb) -> Tensor:
    return torch.tensor([c * t for c, t in zip(colour, TINTS[time], strict=True)])[:, None]


def _ridge(picture: Tensor, outline: Tensor, colour: Tensor) -> None:
    """Fill below `outline` (rows above the horizon, [SKY_WIDTH]) with `colour` [3 1]."""
    rows = torch.arange(SKY_HEIGHT, 0, -1)[:, None]
    inside = (rows <= outline[None]).float()
    picture.mul_(1 - inside).add_(colour[:, :, None] * inside)


def _rolling(base: float, swing: float, waves: tuple[int, ...], rng: random.Random) -> Tensor:
    x = torch.arange(SKY_WIDTH) / SKY_WIDTH * 2 * math.pi
    line = torch.full((SKY_WIDTH,), float(base))
    for k in waves:
        line += swing / math.sqrt(k / waves[0]) * torch.sin(k * x + rng.uniform(0, 6.28))
    return line


def _cones(
    picture: Tensor, rng: random.Random, colour: Tensor, count: int, low: int, high: int, wide: float
) -> None:
    outline = torch.zeros(SKY_WIDTH)
    x = torch.arange(SKY_WIDTH)
    for _ in range(count):
        centre, height = rng.randrange(SKY_WIDTH), rng.randint(low, high)
        away = (x - centre).abs()
        away = torch.minimum(away, SKY_WIDTH - away)
        outline = torch.maximum(outline, height - away / wide)
    _ridge(picture, outline, colour)


def _blocks(
    picture: Tensor,
    rng: random.Random,
    colours: list[Tensor],
    low: int,
    high: int,
    lights: list[Rgb],
    lit: float,
) -> None:
    """A row of buildings with lit windows."""
    x = 0
    while x < SKY_WIDTH:
        width, height = rng.randint(26, 60), rng.randint(low, high)
        top = SKY_HEIGHT - height
        picture[:, top:, x : x + width] = rng.choice(colours)[:, :, None]
        for wy in range(top + 5, SKY_HEIGHT - 4, 9):
            for wx in range(x + 4, min(x + width, SKY_WIDTH) - 6, 8):
                if rng.random() < lit:
                    light = torch.tensor(rng.choice(lights))[:, None, None] * rng.uniform(0.6, 1)
                    picture[:, wy : wy + 5, wx : wx + 4] = light
        x += width + rng.randint(0, 6)


def _skyline(picture: Tensor, horizon: str, time: str, rng: random.Random) -> Tensor:
    picture = picture.clone()
    match horizon:
        case "pines_far":
            _ridge(picture, _rolling(14, 5, (3, 7), rng), _shade(time, (0.80, 0.86, 0.94)))
            _cones(picture, rng, _shade(time, (0.30, 0.45, 0.42)), 60, 10, 26, 2.4)
        case "pines":
            _cones(picture, rng, _shade(time, (0.24, 0.40, 0.30)), 80, 60, 120, 3.2)
            _cones(picture, rng, _shade(time, (0.13, 0.28, 0.19)), 60, 30, 84, 3.0)
            _ridge(picture, _rolling(10, 2, (5, 9), rng), _shade(time, (0.10, 0.22, 0.13)))
        case "hills":
            _ridge(picture, _rolling(26, 8, (3, 5), rng), _shade(time, (0.50, 0.70, 0.50)))
            _ridge(picture, _rolling(12, 5, (4, 9), rng), _shade(time, (0.35, 0.60, 0.28)))
        case "trees" | "hedge":
            height = 40 if horizon == "trees" else 22
            bumps = _rolling(height, 6, (9, 23, 41), rng)
            _ridge(picture, bumps + 12, _shade(time, (0.34, 0.56, 0.30)))
            _ridge(picture, bumps, _shade(time, (0.22, 0.44, 0.20)))
        case "sea" | "lake":
            if horizon == "lake":
                _ridge(picture, _rolling(52, 14, (2, 5), rng), _shade(time, (0.44, 0.54, 0.66)))
            rows = torch.linspace(0, 1, 24)[:, None].expand(24, SKY_WIDTH)
            water = (
                _ramp(rows, (0.10, 0.42, 0.66), (0.28, 0.68, 0.78)) * torch.tensor(TINTS[time])[:, None, None]
            )
            glint = (_noise(256, (32, 64), 3)[:24].repeat(1, 4) > 0.72).float() * 0.12
            picture[:, -24:] = water + glint
        case "dunes":
            _ridge(picture, _rolling(26, 10, (2, 3), rng), _shade(time, (0.95, 0.74, 0.46)))
            _ridge(picture, _rolling(12, 6, (3, 5), rng), _shade(time, (0.84, 0.58, 0.32)))
        case "peaks" | "battlements":
            if horizon == "peaks":
                _cones(picture, rng, _shade(time, (0.62, 0.68, 0.78)), 9, 70, 130, 1.1)
                _cones(picture, rng, _shade(time, (0.45, 0.48, 0.54)), 12, 30, 70, 1.3)
            else:
                x = torch.arange(SKY_WIDTH)
                wall = 60 + 12 * ((x // 12) % 2).float()
                towers = ((x % 256) < 44).float() * (44 + 8 * ((x // 8) % 2).float())
                _ridge(picture, wall + towers, _shade(time, (0.60, 0.57, 0.54)))
                _ridge(picture, wall - 14, _shade(time, (0.52, 0.49, 0.47)))
        case "neon":
            dark = [
                torch.tensor(c)[:, None] for c in ((0.07, 0.06, 0.15), (0.10, 0.07, 0.20), (0.05, 0.05, 0.11))
            ]
            day = [_shade(time, c) for c in ((0.52, 0.50, 0.58), (0.60, 0.56, 0.60), (0.44, 0.46, 0.54))]
            lights = [(1.0, 0.85, 0.5), (0.4, 0.9, 1.0), (1.0, 0.3, 0.7), (0.9, 0.9, 0.7)]
            night = time == "night"
            _blocks(
                picture, rng, dark if night else day, 50, 150, lights if night else [(0.30, 0.34, 0.44)], 0.5
            )
        case "skyline" | "roofs" | "stalls":
            warm = horizon != "skyline"
            walls = [(0.86, 0.70, 0.55), (0.78, 0.52, 0.42), (0.90, 0.84, 0.70)]
            blocks = [(0.55, 0.60, 0.68), (0.48, 0.52, 0.60), (0.62, 0.66, 0.72)]
            glow: list[Rgb] = [(1.0, 0.85, 0.5)] if time == "night" else [(0.40, 0.46, 0.56)]
            fronts = [_shade(time, c) for c in (walls if warm else blocks)]
            low, high = (24, 54) if warm else (40, 120)
            _blocks(picture, rng, fronts, low, high, glow, 0.35)
        case "stands":
            _ridge(picture, torch.full((SKY_WIDTH,), 46.0), _shade(time, (0.42, 0.44, 0.50)))
            crowd = torch.rand(3, 9, SKY_WIDTH // 4, generator=torch.Generator().manual_seed(4))
            crowd = F.interpolate(crowd[None], size=(36, SKY_WIDTH))[0] * 0.8 + 0.1
            picture[:, -42:-6] = crowd * torch.tensor(TINTS[time])[:, None, None]
        case "deep":
            shaft = (torch.sin(torch.arange(SKY_WIDTH) * 2 * math.pi * 9 / SKY_WIDTH) * 0.5 + 0.5) ** 3
            picture += 0.16 * shaft * torch.linspace(1, 0, SKY_HEIGHT)[:, None]
    return picture


def _wall(horizon: str, time: str, rng: random.Random) -> Tensor:
    paper: dict[str, tuple[Rgb, Rgb]] = {
        "bedroom_wall": ((0.72, 0.74, 0.88), (0.80, 0.82, 0.93)),
        "living_wall": ((0.90, 0.82, 0.68), (0.95, 0.89, 0.78)),
        "kitchen_wall": ((0.80, 0.90, 0.86), (0.90, 0.95, 0.92)),
        "board_wall": ((0.88, 0.86, 0.76), (0.92, 0.90, 0.82)),
        "curtain": ((0.42, 0.05, 0.09), (0.62, 0.09, 0.13)),
        "shelves": ((0.48, 0.50, 0.53), (0.60, 0.62, 0.64)),
    }
    low, high = paper[horizon]
    height = torch.linspace(0, 1, SKY_HEIGHT)[:, None].expand(SKY_HEIGHT, SKY_WIDTH)
    picture = _ramp(height, low, high)
    light = torch.tensor(INDOOR_TINTS[time])[:, None, None]
    if horizon == "curtain":
        fold = torch.sin(torch.arange(SKY_WIDTH) * 2 * math.pi * 40 / SKY_WIDTH) * 0.16
        return (picture * (1 + fold)) * light
    picture = picture * light
    outside = torch.tensor(_SKIES[time][1])[:, None, None]
    step = 256
    for x in range(0, SKY_WIDTH, step):
        match horizon:
            case "board_wall":
                picture[:, 90:160, x + 20 : x + 200] = torch.tensor((0.42, 0.28, 0.16))[:, None, None] * light
                picture[:, 94:156, x + 24 : x + 196] = torch.tensor((0.12, 0.30, 0.22))[:, None, None] * light
            case "shelves":
                for y in range(40, 186, 36):
                    picture[:, y : y + 5, x : x + 236] = (
                        torch.tensor((0.80, 0.45, 0.15))[:, None, None] * light
                    )
                    at = x + 6
                    while at < x + 210:
                        width, tall = rng.randint(14, 28), rng.randint(14, 27)
                        box = torch.tensor(
                            rng.choice([(0.74, 0.58, 0.40), (0.66, 0.50, 0.34), (0.55, 0.57, 0.60)])
                        )
                        picture[:, y - tall : y, at : at + width] = box[:, None, None] * light
                        at += width + rng.randint(2, 14)
            case _:
                picture[:, 106:168, x + 40 : x + 112] = 0.97 * light
                picture[:, 111:163, x + 45 : x + 107] = outside
                picture[:, 135:139, x + 45 : x + 107] = 0.97 * light
                picture[:, 111:163, x + 74 : x + 78] = 0.97 * light
                if horizon == "living_wall":
                    picture[:, 118:152, x + 160 : x + 206] = (
                        torch.tensor((0.50, 0.33, 0.19))[:, None, None] * light
                    )
                    art = _ramp(
                        torch.linspace(0, 1, 26)[:, None].expand(26, 38),
                        (0.55, 0.75, 0.85),
                        (0.85, 0.60, 0.40),
                    )
                    picture[:, 122:148, x + 164 : x + 202] = art * light
    picture[:, -9:] = (
        torch.tensor((0.96, 0.94, 0.90))[:, None, None] * light * (0.75 if horizon != "shelves" else 0.4)
    )
    return picture


# ---- falling weather ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def particles(kind: str) -> Tensor:
    """A tileable field of snowflakes or raindrops, [256 256], 0..1."""
    generator = torch.Generator().manual_seed(5 if kind == "snow" else 6)
    field = torch.zeros(256 * 256)
    field[torch.randint(0, 65536, (150 if kind == "snow" else 120,), generator=generator)] = 1
    if kind == "snow":
        line = torch.exp(-(torch.arange(-4, 5) ** 2) / 4.0)
        kernel = line[:, None] * line[None]
    else:
        kernel = torch.zeros(31, 5)
        for j in range(31):
            kernel[j, int(2 + 1.6 * (j - 15) / 15)] = 1 - abs(j - 15) / 17
    rows, columns = kernel.shape
    padded = F.pad(field.reshape(1, 1, 256, 256), (columns // 2,) * 2 + (rows // 2,) * 2, mode="circular")
    return F.conv2d(padded, kernel[None, None])[0, 0].clamp(0, 1)
