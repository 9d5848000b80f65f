"""The same drawing list painted fast: one frame at a time, in bytes, at film sizes.

`Stage` is exact, differs by nothing between machines and paints many small scenes at once: what models learn from.
This paints one scene large, four to ten times faster, for a preview: sky and ground are kept while the camera
rests, the rest is integer work in the windows it touches. Left out: ripples, fog by the pixel, the flat style.

Metres and angles as in `stage.py`. Frames are uint8 [h w 3].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from longtake.world import scenery
from longtake.world.atlas import Atlas
from longtake.world.scene import Tracks
from longtake.world.stage import NEAR

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_CAMERA = ("cx", "cy", "cz", "yaw", "pitch", "roll", "focal")
_TEXELS = 1024
"""Side of a ground tile after enlarging: near ground stays smooth without interpolation."""
_KEPT_PIXELS = 24_000_000
"""Of enlarged tiles, four bytes each."""
_FILL, _FOG_LIMIT = 0.4, 0.5


class Painter:
    """Paints scenes at one size from one atlas."""

    def __init__(self, atlas: Atlas, width: int, height: int):
        self.atlas, self.width, self.height = atlas, width, height
        self._tiles: dict[tuple[Any, ...], Image.Image] = {}
        self._held = 0

    def frames(self, tracks: Tracks) -> Iterator[Bytes]:
        """Every frame of a drawing list, in order."""
        scene = _Scene(self, tracks)
        for t in range(len(tracks.camera["cx"])):
            yield scene.frame(t)

    def tile(
        self, index: int, light: tuple[float, ...], flip: bool, bite: tuple[float, ...] | None, side: int
    ) -> Image.Image:
        """One atlas tile, premultiplied, lit, perhaps mirrored and bitten, `side` pixels wide; kept."""
        key = (index, light, flip, bite, side)
        if key not in self._tiles:
            if self._held > _KEPT_PIXELS:
                self._tiles.clear()
                self._held = 0
            rgba = self.atlas.tiles[index].astype(np.float32)
            rgba[..., :3] *= np.asarray(light, np.float32)
            if bite:
                rgba *= _unbitten(self.atlas.size, *bite)[..., None]
            image = Image.fromarray(rgba.clip(0, 255).astype(np.uint8), "RGBa")
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image
            self._tiles[key] = image.resize((side, side), Image.Resampling.BICUBIC)
            self._held += side * side
        return self._tiles[key]


class _Scene:
    """One drawing list while it is painted."""

    def __init__(self, painter: Painter, tracks: Tracks):
        self.p, self.tracks = painter, tracks
        self.width, self.height = painter.width, painter.height
        look = scenery.look(tracks.place)
        self.dry = float(not look.indoor and not look.water)
        self.wet = max(look.wet, tracks.weather["wet"] * self.dry)
        self.fog = 0.012 * look.haze + 0.05 * tracks.weather["fog"] * self.dry
        self.tint = np.asarray(scenery.tint(tracks.place, tracks.time), np.float32)
        self.overcast = max(tracks.weather["rain"], tracks.weather["snow"]) * float(not look.indoor)
        clear = tracks.weather["rain"] < 0.1
        self.sky = _sky(
            tracks.place,
            tracks.time,
            clear,
            round(0.7 * self.overcast, 3),
            tuple(self.tint.tolist()),
            round(self.fog, 4),
        )
        self.far = np.asarray(self.sky.resize((1, 1), Image.Resampling.BOX), np.float32)[0, 0]
        self.boxes = np.asarray(
            [painter.atlas.bbox(n.removeprefix("prop:")) for n in tracks.names], np.float32
        )
        self.still = all(bool((tracks.camera[k] == tracks.camera[k][0]).all()) for k in _CAMERA)
        self.rolled = bool((np.abs(tracks.camera["roll"]) > 1e-4).any())
        self.kept: Bytes | None = None
        self.resting = self._resting()

    def frame(self, t: int) -> Bytes:
        camera = {k: float(self.tracks.camera[k][t]) for k in _CAMERA}
        layers = self._layers(t, camera)
        rest = self.resting if self.still else 0
        if self.kept is None or not self.still:
            self.kept = self._place(camera)
            self._stand(self.kept, layers[:rest])
        image = self.kept.copy()
        self._stand(image, layers[rest:])
        if self.dry:
            self._weather(image, t)
        return _turned(image, camera["roll"]) if self.rolled else image

    def _resting(self) -> int:
        """How many of the furthest layers never change."""
        if not self.still:
            return 0
        same = [
            all(bool((v[i] == v[i, 0]).all()) for v in self.tracks.layers.values())
            for i in range(len(self.boxes))
        ]
        far = float(
            min((self.tracks.layers["Z"][i].min() for i in range(len(same)) if not same[i]), default=1e9)
        )
        camera = {k: float(self.tracks.camera[k][0]) for k in _CAMERA}
        front = [
            p
            for p in self._layers(0, camera)
            if not (same[p["layer"]] and self.tracks.layers["Z"][p["layer"], 0] > far)
        ]
        return len(self._layers(0, camera)) - len(front) if abs(camera["yaw"]) < 1e-6 else 0

    def _stand(self, image: Bytes, layers: list[dict[str, Any]]) -> None:
        for layer in layers:
            self._shadow(image, layer)
        if self.wet > 0.02:
            for layer in layers:
                self._draw(image, layer, mirrored=True)
        for layer in layers:
            if layer["glow"] > 0.5:
                self._halo(image, layer)
            self._draw(image, layer, mirrored=False)

    # ---- sky and ground -------------------------------------------------------------------------

    def _place(self, camera: dict[str, float]) -> Bytes:
        focal = camera["focal"] * self.height
        horizon = self.height * (0.5 + camera["focal"] * math.tan(camera["pitch"]))
        line = min(max(math.floor(horizon), 0), self.height)
        image = np.empty((self.height, self.width, 3), np.uint8)
        if line > 0:
            image[:line] = self._above(camera, focal, horizon, line)
        if line < self.height:
            self._below(image, camera, focal, horizon, line)
        return image

    def _above(self, camera: dict[str, float], focal: float, horizon: float, line: int) -> Bytes:
        """The panorama, its angles taken as straight lines: exact at the edges and in the middle."""
        full = scenery.SKY_WIDTH
        half = math.atan(self.width / 2 / focal) / math.pi
        middle = (camera["yaw"] / math.pi + 0.5) % 1.0 + 1.0  # the picture stands three times side by side
        top = 1 - math.atan(horizon / focal) / scenery.SKY_TOP
        bottom = 1 - math.atan((horizon - line) / focal) / scenery.SKY_TOP
        low, high = max(top, 0.0) * scenery.SKY_HEIGHT, min(max(bottom, 0.05), 1.0) * scenery.SKY_HEIGHT
        box = ((middle - half) * full, min(low, high - 1), (middle + half) * full, high)
        return np.asarray(self.sky.resize((self.width, line), Image.Resampling.BICUBIC, box))

    def _below(self, image: Bytes, camera: dict[str, float], focal: float, horizon: float, line: int) -> None:
        rows = np.arange(line, self.height, dtype=np.float32)[:, None] + 0.5 - horizon
        distance = focal * camera["cy"] / np.maximum(rows, 0.7)  # h 1
        px = np.arange(self.width, dtype=np.float32)[None] + 0.5 - self.width / 2
        c, n = math.cos(camera["yaw"]), math.sin(camera["yaw"])
        per_pixel = distance / focal
        texels = _TEXELS / scenery.TILE_METRES
        x = px * (per_pixel * c * texels) + (distance * n + camera["cx"]) * texels  # h w
        z = (
            px * (per_pixel * -n * texels) + (distance * c + camera["cz"]) * texels
            if abs(n) > 1e-6
            else (distance * c + camera["cz"]) * texels
        )
        mask = _TEXELS - 1
        index = (np.floor(z).astype(np.int32) & mask) * _TEXELS + (x.astype(np.int32) & mask)
        name = scenery.look(self.tracks.place).ground
        texture, mean = _ground(name)
        near = _fade(distance)
        levels = texture[0].take(index)
        if (coarse := int(np.count_nonzero(near[:, 0] < 0.62))) > 0:  # far rows would shimmer
            levels[:coarse] = texture[1].take(index[:coarse])
        colour = levels.view(np.uint8).reshape(*levels.shape, 4)[..., :3]
        fog = 1 - np.exp(-distance * self.fog)
        mirror = self.wet * (0.3 + 0.5 * np.exp(-np.maximum(rows, 0) / (self.height * 0.25)))
        gain = near * (1 - mirror) * (1 - fog)
        base = (mean * (1 - near) * self.tint * (1 - mirror)) * (1 - fog) + self.far * fog
        image[line:] = _affine(colour, gain, self.tint, base)
        if self.wet > 0.02 and line > 2:
            flipped = image[line - 1 :: -1][: self.height - line]
            count = len(flipped)
            share = (mirror * (1 - fog))[:count, :, None]
            image[line : line + count] = (
                (image[line : line + count] + flipped * share).clip(0, 255).astype(np.uint8)
            )
            if count < self.height - line:
                rest = (mirror * (1 - fog))[count:, :, None] * flipped[-1:]
                image[line + count :] = (image[line + count :] + rest).clip(0, 255).astype(np.uint8)

    # ---- layers ---------------------------------------------------------------------------------

    def _layers(self, t: int, camera: dict[str, float]) -> list[dict[str, Any]]:
        """What is in the picture, far to near, each with its place in pixels."""
        row = {k: v[:, t] for k, v in self.tracks.layers.items()}
        focal = camera["focal"] * self.height
        horizon = self.height * (0.5 + camera["focal"] * math.tan(camera["pitch"]))
        c, n = math.cos(camera["yaw"]), math.sin(camera["yaw"])
        dx, dz = row["X"] - camera["cx"], row["Z"] - camera["cz"]
        across, depth = dx * c - dz * n, dx * n + dz * c
        shown = np.flatnonzero((row["a"] > 0.01) & (depth > NEAR))
        scale = focal / np.maximum(depth, NEAR)
        x0, y0, x1, y1 = self.boxes.T
        found = []
        for i in shown[np.argsort(-depth[shown], kind="stable")]:
            tall = scale[i] * row["h"][i] * row["squash"][i]
            tile = scale[i] * row["h"][i] / (y1[i] - y0[i])
            wide = max(abs(c), 0.3) / math.sqrt(row["squash"][i])
            floor = horizon + scale[i] * camera["cy"]
            bitten = row["br"][i] > 0
            found.append(
                {
                    "layer": int(i),
                    "x": self.width / 2 + scale[i] * across[i],
                    "floor": floor,
                    "foot": floor - scale[i] * row["Y"][i],
                    "tall": tall,
                    "half": (x1[i] - x0[i]) / 2 * tile * wide,
                    "wide": tile * wide,
                    "high": tile * row["squash"][i],
                    "u": (x0[i] + x1[i]) / 2,
                    "v": (y0[i] + y1[i]) / 2,
                    "rot": float(row["rot"][i]),
                    "flip": row["flip"][i] > 0.5,
                    "tex": int(row["tex"][i]),
                    "a": float(row["a"][i]),
                    "glow": float(row["glow"][i]),
                    "depth": float(depth[i]),
                    "buried": row["Y"][i] < 0,
                    "actor": self.tracks.actor[i] >= 0,
                    "bite": (float(row["bx"][i]), float(row["by"][i]), round(float(row["br"][i]), 3))
                    if bitten
                    else None,
                }
            )
        return found

    def _shadow(self, image: Bytes, p: dict[str, Any]) -> None:
        above = min(max((p["floor"] - p["foot"]) / max(p["tall"], 1), 0.0), 3.0)
        if p["floor"] - p["foot"] < -0.5 * p["tall"]:
            return
        rx = max(p["half"], 1) * (0.95 + 0.3 * above)
        dark = p["a"] * 0.42 * (1 - p["glow"]) / (1 + 1.5 * above) * (1 - 0.6 * self.wet)
        wide, high = round(4 * rx), round(4 * max(rx * 0.24, 1))
        at = _window(p["x"] - wide / 2, p["floor"] - high / 2, wide, high, self.width, self.height)
        if at is None or dark < 0.02:
            return
        (rows, columns), (sx, sy) = at
        y = ((np.arange(rows.stop - rows.start, dtype=np.float32) + sy + 0.5) / high * 4 - 2)[:, None]
        x = ((np.arange(columns.stop - columns.start, dtype=np.float32) + sx + 0.5) / wide * 4 - 2)[None]
        keep = 256 - (256 * dark * np.exp(-1.6 * y * y) * np.exp(-1.6 * x * x))
        image[rows, columns] = (image[rows, columns] * keep.astype(np.uint16)[..., None]) >> 8

    def _draw(self, image: Bytes, p: dict[str, Any], mirrored: bool) -> None:
        """Lay one drawing, or its reflection in wet ground, over the picture."""
        cos, sin = math.cos(p["rot"]), math.sin(p["rot"])
        reach = abs(cos) * p["half"] + abs(sin) * p["tall"] / 2 + 1
        rise = abs(cos) * p["tall"] / 2 + abs(sin) * p["half"] + 1
        y = p["foot"] - p["tall"] / 2
        centre = 2 * p["floor"] - y if mirrored else y
        bottom = p["floor"] if p["buried"] and not mirrored else 1e9
        top = p["floor"] if mirrored else -1e9
        left, up = math.floor(p["x"] - reach), math.floor(max(centre - rise, top))
        at = _window(
            left,
            up,
            math.ceil(p["x"] + reach) - left,
            math.ceil(min(centre + rise, bottom)) - up,
            self.width,
            self.height,
        )
        if at is None or p["wide"] < 1 or p["high"] < 1:
            return
        rows, columns = at[0]
        size = self.p.atlas.size
        enlarged = math.log2(max(p["wide"], p["high"], 4) / size)
        quarter = round(enlarged * 4) / 4  # in steps, so that tiles can be kept
        side = min(max(4, round(size * 2**quarter)), 1600)
        image_tile = self.p.tile(p["tex"], self._light(p), bool(p["flip"]), p["bite"], side)
        u = 1 - p["u"] if p["flip"] else p["u"]
        a, b = cos / p["wide"] * side, -sin / p["wide"] * side
        d, e = sin / p["high"] * side, cos / p["high"] * side
        ox, oy = columns.start - p["x"], rows.start - centre
        if mirrored:
            b, e, oy = -b, -e, oy
        matrix = (a, b, a * ox + b * oy + u * side, d, e, d * ox + e * oy + p["v"] * side)
        shape = (columns.stop - columns.start, rows.stop - rows.start)
        drawn = np.asarray(_mapped(image_tile, shape, matrix))
        alpha: np.ndarray = drawn[..., 3:].astype(np.uint16)
        colour = drawn[..., :3]
        strength = p["a"]
        if mirrored:
            away = (np.arange(rows.start, rows.stop, dtype=np.float32) - p["floor"]).clip(0) / self.height
            fade = (256 * strength * self.wet * 0.55 * np.exp(-2.2 * away)).astype(np.uint16)[:, None, None]
            alpha, over = (alpha * fade) >> 8, (colour * fade) >> 8
        elif strength < 0.995:
            part = np.uint16(256 * strength)
            alpha, over = (alpha * part) >> 8, (colour * part) >> 8
        else:
            over = colour.astype(np.uint16)
        below = image[rows, columns]
        image[rows, columns] = np.minimum(((below * (255 - alpha) + 128) // 255) + over, 255).astype(np.uint8)

    def _light(self, p: dict[str, Any]) -> tuple[float, ...]:
        """Light on a drawing, rounded so that its lit tile can be kept."""
        fog = 1 - math.exp(-p["depth"] * self.fog)
        fog = min(fog, _FOG_LIMIT) if p["actor"] else fog
        light = self.tint + (1 - self.tint) * (_FILL if p["actor"] else 0.0)
        light = (light * (1 - p["glow"]) + 1.12 * p["glow"]) * (1 - fog) + self.far / 255 * fog
        return tuple(np.round(light, 2).tolist())

    def _halo(self, image: Bytes, p: dict[str, Any]) -> None:
        """The glow around what shines by itself."""
        side = max(p["wide"], p["high"]) * 1.6
        at = _window(
            p["x"] - side / 2,
            p["foot"] - p["tall"] / 2 - side / 2,
            round(side),
            round(side),
            self.width,
            self.height,
        )
        if at is None:
            return
        (rows, columns), (sx, sy) = at
        glow = _glow(self.p.tile(p["tex"], (0.75, 0.75, 0.75), bool(p["flip"]), None, self.p.atlas.size))
        whole = np.asarray(glow.resize((round(side), round(side)), Image.Resampling.BILINEAR))
        part = whole[sy : sy + rows.stop - rows.start, sx : sx + columns.stop - columns.start]
        image[rows, columns] = np.minimum(image[rows, columns].astype(np.uint16) + part, 255).astype(np.uint8)

    def _weather(self, image: Bytes, t: int) -> None:
        """Snow and rain in three depths, drawn only where they are."""
        seconds = t / self.tracks.fps
        for kind, drift, fall, colour, strength in (
            ("snow", 0.05, 0.20, 255, 0.9),
            ("rain", 0.10, 1.5, 209, 0.34),
        ):
            amount = self.tracks.weather[kind]
            if amount <= 0:
                continue
            shown = np.zeros(image.shape[:2], np.uint8)
            for j, (scale, speed) in enumerate(((1.0, 1.0), (0.62, 1.5), (0.42, 2.0))):
                field = _flakes(kind, round(self.height / scale))
                side = len(field)
                sway = 0.03 * math.sin(seconds * 2 + j) if kind == "snow" else 0.0
                ox = round((-seconds * drift * scale * speed + 0.37 * j + sway) * side) % side
                oy = round((-seconds * fall * scale + 0.21 * j) * side) % side
                np.maximum(shown, _wrapped(field, oy, ox, *shown.shape), out=shown)
            rows, columns = np.nonzero(shown)
            part = (shown[rows, columns].astype(np.float32) * (amount * strength / 255))[:, None]
            seen = image[rows, columns]
            image[rows, columns] = (seen + (colour - seen.astype(np.float32)) * part).astype(np.uint8)


def _mapped(tile: Image.Image, shape: tuple[int, int], m: tuple[float, ...]) -> Image.Image:
    """The tile under an affine map of pixel corners; one without rotation is a resize, which is faster."""
    if abs(m[1]) < 1e-6 and abs(m[3]) < 1e-6 and m[4] > 0:
        box = (m[2], m[5], m[2] + m[0] * shape[0], m[5] + m[4] * shape[1])
        if box[0] >= 0 and box[1] >= 0 and box[2] <= tile.width and box[3] <= tile.height:
            return tile.resize(shape, Image.Resampling.BILINEAR, box)
    return tile.transform(shape, Image.Transform.AFFINE, m, Image.Resampling.BILINEAR)


def _window(
    left: float, top: float, wide: int, high: int, width: int, height: int
) -> tuple[tuple[slice, slice], tuple[int, int]] | None:
    """The part of a box that lies in the picture, and where in the box it begins; None when nothing does."""
    x0, y0 = round(left), round(top)
    x1, y1 = min(x0 + wide, width), min(y0 + high, height)
    sx, sy = max(-x0, 0), max(-y0, 0)
    if x1 <= max(x0, 0) or y1 <= max(y0, 0):
        return None
    return (slice(max(y0, 0), y1), slice(max(x0, 0), x1)), (sx, sy)


def _affine(colour: Bytes, gain: np.ndarray, tint: np.ndarray, base: np.ndarray) -> Bytes:
    """colour * gain * tint + base by rows, in fixed point."""
    factor = (gain[:, :, None] * tint * 256).astype(np.uint16)  # h 1 3
    offset = base[:, None, :].clip(0, 255).astype(np.uint16)
    lit: Bytes = np.minimum(((colour * factor) >> 8) + offset, 255).astype(np.uint8)
    return lit


def _fade(distance: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-distance * 0.06), np.float32)


def _turned(image: Bytes, roll: float) -> Bytes:
    """The picture with the camera rolled, enlarged so that no corner is empty."""
    height, width = image.shape[:2]
    c, s = math.cos(roll), math.sin(roll)
    grow = c + abs(s) * max(width / height, height / width)
    a, b = c / grow, s / grow
    matrix = (
        a,
        b,
        width / 2 - a * width / 2 - b * height / 2,
        -b,
        a,
        height / 2 + b * width / 2 - a * height / 2,
    )
    return np.asarray(
        Image.fromarray(image).transform(
            (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
    )


def _wrapped(field: Bytes, oy: int, ox: int, rows: int, columns: int) -> Bytes:
    """A window of an endless field."""
    side = len(field)
    reach_y, reach_x = -(-(oy + rows) // side), -(-(ox + columns) // side)
    return np.asarray(np.tile(field, (reach_y, reach_x))[oy : oy + rows, ox : ox + columns])


@lru_cache(maxsize=16)
def _flakes(kind: str, side: int) -> Bytes:
    field = scenery.particles(kind).numpy()
    image = Image.fromarray((field * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    found = np.asarray(image)
    return np.where(found > 10, found, 0).astype(np.uint8)


@lru_cache(maxsize=16)
def _sky(place: str, time: str, clear: bool, grey: float, tint: tuple[float, ...], fog: float) -> Image.Image:
    """The panorama three times side by side, greyed by bad weather."""
    back = scenery.sky(place, time, clear).numpy().transpose(1, 2, 0)
    dull = back.mean(2, keepdims=True) * 0.55 + 0.40 * float(np.mean(tint))
    back = back + (dull - back) * grey
    back = back + (back.mean((0, 1)) - back) * min(fog, 0.06) * 8
    return Image.fromarray((np.tile(back, (1, 3, 1)).clip(0, 1) * 255).astype(np.uint8))


@lru_cache(maxsize=16)
def _ground(name: str) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """A ground tile as packed pixels, sharp and soft, [_TEXELS**2] each; and its mean colour 0..255."""
    tile = scenery.ground(name).numpy().transpose(1, 2, 0)
    bytes_ = (tile * 255).clip(0, 255).astype(np.uint8)
    side = len(bytes_)
    wide = np.pad(bytes_, ((8, 8), (8, 8), (0, 0)), mode="wrap")
    scale = _TEXELS // side
    big = Image.fromarray(wide).resize(
        (wide.shape[1] * scale, wide.shape[0] * scale), Image.Resampling.BICUBIC
    )
    cut = 8 * scale
    sharp = big.crop((cut, cut, cut + _TEXELS, cut + _TEXELS))
    soft = big.filter(ImageFilter.GaussianBlur(6 * scale)).crop((cut, cut, cut + _TEXELS, cut + _TEXELS))
    packed = tuple(
        np.asarray(i.convert("RGBA")).reshape(-1, 4).view(np.uint32).reshape(-1) for i in (sharp, soft)
    )
    return (packed[0], packed[1]), tile.mean((0, 1)) * 255


@lru_cache(maxsize=64)
def _glow_of(data: bytes, size: int) -> Image.Image:
    tile = Image.frombytes("RGBa", (size, size), data)
    canvas = Image.new("RGB", (round(size * 1.6),) * 2)
    inside = round(size * 0.3)
    canvas.paste(Image.fromarray(np.asarray(tile)[..., :3].copy()), (inside, inside))
    return canvas.resize((96, 96)).filter(ImageFilter.GaussianBlur(9))


def _glow(tile: Image.Image) -> Image.Image:
    return _glow_of(tile.tobytes(), tile.width)


@lru_cache(maxsize=32)
def _unbitten(size: int, bx: float, by: float, radius: float) -> np.ndarray:
    """1 where a drawing is still there: three discs make a bite with teeth marks."""
    v, u = np.mgrid[0:size, 0:size].astype(np.float32) / size
    whole = np.ones((size, size), np.float32)
    for k in range(3):
        du, dv = u - bx + 0.10 * (k - 1), v - by - 0.07 * (k % 2)
        whole *= du * du + dv * dv > (radius * (1 - 0.2 * (k % 2))) ** 2
    return whole
