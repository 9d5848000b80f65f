"""The stage: tracks in, frames and exact truth out.

Flat drawings stand in a true-perspective world: a pinhole camera, a textured ground plane, a panorama behind,
depth-sorted layers, blob shadows, wet mirrors, falling weather, bloom. All of it is pointwise tensor code on
`b` scenes x `t` frames at once, the same on CPU and CUDA. On a CPU each layer is drawn only inside the window it
covers; on a GPU windows cost more than they save and the whole frame is drawn.

Metres: X right, Y up, Z away. Pixels: x right, y down, centres at +.5. The camera looks along +Z when yaw is 0;
pitch shifts the horizon (a view camera's rise and fall) so that uprights stay upright.
Axes: b scene, t frame, l layer, h w pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from longtake.world import scenery
from longtake.world.atlas import Atlas
from longtake.world.scene import Tracks

NEAR = 0.4
"""Nothing nearer to the camera than this is drawn, metres."""
_MIP_LEVELS = 4
_FOG_LIMIT = 0.5
"""Fog never hides a character more than this."""
_FILL = 0.4
"""Light of the night that reaches characters although it does not reach the place."""
_LAYER = ("X", "Y", "Z", "h", "rot", "flip", "tex", "a", "glow", "bx", "by", "br", "squash")
_CAMERA = ("cx", "cy", "cz", "yaw", "pitch", "roll", "focal")


Layers = dict[str, Tensor]
"""Every track of a batch and what is computed from them, by name; b t l unless said otherwise."""
Window = tuple[slice, slice]


@dataclass
class _Canvas:
    """One chunk of frames while it is painted, and the air it is painted in."""

    x: Tensor  # b t h w or 1 1 h w: pixel coordinates with the camera's roll undone
    y: Tensor
    rolled: bool
    tint: Tensor  # b 1 3 1 1: colour of the light
    wet: Tensor  # b: how much the ground mirrors
    density: Tensor  # b: of the fog
    seconds: Tensor  # t
    image: Tensor  # b t 3 h w
    fog_colour: Tensor  # b t 3 1 1
    light: Tensor | None = None  # b t 3 h w, what glows; None when nothing does
    ids: Tensor | None = None  # b t h w, the layer seen at each pixel; None when nobody asks


class Stage:
    """Renders scenes at one size. `chunk` frames are painted at a time, which bounds memory."""

    def __init__(
        self, atlas: Atlas, height: int, width: int, device: str | torch.device = "cpu", chunk: int = 8
    ):
        self.height, self.width, self.chunk = height, width, chunk
        self.device = torch.device(device)
        self._atlas = atlas
        self._mips = _mip_atlas(torch.from_numpy(atlas.tiles)).to(self.device)
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        self._x, self._y = x.to(self.device), y.to(self.device)

    @torch.no_grad()
    def render(self, scenes: Sequence[Tracks]) -> Tensor:
        """Frames of `scenes` (all of one length), float [b 3 t h w] in 0..1."""
        return rearrange(torch.cat([image for image, _ in self._chunks(scenes)], 1), "b t c h w -> b c t h w")

    @torch.no_grad()
    def truth(self, scenes: Sequence[Tracks]) -> list[dict[str, Any]]:
        """What is exactly true of each scene, as JSON-able dicts.

        `boxes` [t][l] = x0 y0 x1 y1 in pixels of the visible drawing (unclipped), `visible` [t][l] = share of the
        frame its unhidden pixels cover, `hidden` [t][l] = share of its own pixels inside the frame that something
        nearer covers, `depth` [t][l] in metres, `camera` poses, `events`, `cuts`, `names`, `actor`.
        """
        state = self._project(self._collate(scenes))
        ids = torch.cat(
            [ids for _, ids in self._chunks(scenes, want_ids=True) if ids is not None], 1
        )  # b t h w
        own = torch.stack([self._coverage(state, layer) for layer in range(state["X"].shape[2])], 2)  # b t l
        seen = torch.stack([(ids == layer).sum((2, 3)) for layer in range(own.shape[2])], 2)
        boxes = _edges(state)
        pixels = self.height * self.width
        result = []
        for i, tracks in enumerate(scenes):
            count = len(tracks.names)
            result.append(
                {
                    "names": list(tracks.names),
                    "actor": list(tracks.actor),
                    "boxes": boxes[i, :, :count].round(decimals=2).tolist(),
                    "visible": (seen[i, :, :count] / pixels).tolist(),
                    "hidden": (1 - seen[i, :, :count] / own[i, :, :count].clamp(min=1)).clamp(0, 1).tolist(),
                    "depth": state["depth"][i, :, :count].tolist(),
                    "camera": {k: np.asarray(v).tolist() for k, v in tracks.camera.items()},
                    "events": list(tracks.events),
                    "cuts": list(tracks.cuts),
                }
            )
        return result

    @torch.no_grad()
    def boxes(self, scenes: Sequence[Tracks]) -> tuple[Tensor, Tensor]:
        """Boxes x0 y0 x1 y1 in pixels [b t l 4] and opacities [b t l], without painting anything."""
        state = self._project(self._collate(scenes))
        return _edges(state), state["a"]

    # ---- gathering and projecting ------------------------------------------------------------------------------

    def _chunks(
        self, scenes: Sequence[Tracks], want_ids: bool = False
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        batch = self._collate(scenes)
        for start in range(0, batch["X"].shape[1], self.chunk):
            part = {
                k: v[:, start : start + self.chunk] if k in _LAYER + _CAMERA else v for k, v in batch.items()
            }
            yield self._paint(self._project(part), scenes, start, want_ids)

    def _collate(self, scenes: Sequence[Tracks]) -> Layers:
        """Stack scenes; shorter layer lists are padded with layers of no opacity. Layers become b t l."""
        most = max(len(s.names) for s in scenes)
        batch: Layers = {}
        for key in _LAYER:
            rest = {"Z": 50.0, "h": 0.1, "squash": 1.0}.get(key, 0.0)
            rows = [
                np.pad(s.layers[key], ((0, most - len(s.names)), (0, 0)), constant_values=rest)
                for s in scenes
            ]
            batch[key] = torch.from_numpy(np.stack(rows)).to(self.device, torch.float32).transpose(1, 2)
        for key in _CAMERA:
            batch[key] = torch.from_numpy(np.stack([s.camera[key] for s in scenes])).to(
                self.device, torch.float32
            )
        box = torch.tensor([[(0.0, 0.0, 1.0, 1.0)] * most] * len(scenes))
        character = torch.zeros(len(scenes), most)
        for i, tracks in enumerate(scenes):
            for j, name in enumerate(tracks.names):
                box[i, j] = torch.tensor(self._atlas.bbox(name.removeprefix("prop:")))
                character[i, j] = float(tracks.actor[j] >= 0)
        batch["box"], batch["character"] = box.to(self.device), character.to(self.device)
        return batch

    def _project(self, batch: Layers) -> Layers:
        """Add to the batch where each layer stands on the picture; see the keys set here. All [b t l]."""
        s = dict(batch)
        focal = s["focal"][..., None] * self.height
        yaw = s["yaw"][..., None]
        s["horizon"] = self.height * (0.5 + s["focal"] * torch.tan(s["pitch"]))  # b t
        dx, dz = s["X"] - s["cx"][..., None], s["Z"] - s["cz"][..., None]
        across = dx * torch.cos(yaw) - dz * torch.sin(yaw)
        depth = dx * torch.sin(yaw) + dz * torch.cos(yaw)
        s["a"] = s["a"] * (depth > NEAR)
        s["depth"] = depth.clamp(min=NEAR)
        scale = focal / s["depth"]  # pixels a metre
        x0, y0, x1, y1 = s["box"].unbind(-1)  # b l
        s["mid_u"], s["mid_v"] = ((x0 + x1) / 2)[:, None], ((y0 + y1) / 2)[:, None]
        s["tile"] = scale * s["h"] / (y1 - y0)[:, None]  # height of the whole tile, pixels
        s["wide"] = (
            torch.cos(yaw).abs().clamp(min=0.3) / s["squash"].sqrt()
        )  # flats turn edge-on as the camera orbits
        s["x"] = self.width / 2 + scale * across
        s["floor"] = s["horizon"][..., None] + scale * s["cy"][..., None]
        s["foot"] = s["floor"] - scale * s["Y"]
        s["tall"] = scale * s["h"] * s["squash"]
        s["y"] = s["foot"] - s["tall"] / 2  # the drawing's centre, about which it turns
        s["half_w"] = (x1 - x0)[:, None] / 2 * s["tile"] * s["wide"]
        turn = torch.sin(s["rot"]).abs()
        reach = torch.cos(s["rot"]).abs() * s["half_w"] + turn * s["tall"] / 2
        rise = torch.cos(s["rot"]).abs() * s["tall"] / 2 + turn * s["half_w"]
        s["left"], s["right"] = s["x"] - reach, s["x"] + reach
        s["top"], s["bottom"] = (
            s["y"] - rise,
            torch.minimum(s["y"] + rise, torch.where(s["Y"] < 0, s["floor"], 1e9)),
        )
        return s

    def _window(
        self, left: Tensor, right: Tensor, top: Tensor, bottom: Tensor, drawn: Tensor, rolled: bool
    ) -> Window | None:
        """The part of the picture a layer may touch in any frame of the chunk, or None."""
        whole = slice(0, self.height), slice(0, self.width)
        if self.device.type != "cpu":
            return whole
        on = drawn > 0
        if not bool(on.any()):
            return None
        if rolled:
            return whole
        x0, x1 = int(left[on].min().clamp(0, self.width)), math.ceil(right[on].max().clamp(0, self.width))
        y0, y1 = int(top[on].min().clamp(0, self.height)), math.ceil(bottom[on].max().clamp(0, self.height))
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    # ---- painting ----------------------------------------------------------------------------------------------

    def _paint(
        self, s: Layers, scenes: Sequence[Tracks], start: int, want_ids: bool
    ) -> tuple[Tensor, Tensor | None]:
        b, t, layers = s["X"].shape
        looks = [scenery.look(c.place) for c in scenes]
        dry = self._each([float(not k.indoor and not k.water) for k in looks])
        air = {k: self._each([c.weather[k] for c in scenes]) * dry for k in ("rain", "snow", "fog")}
        canvas = self._prepare(s, scenes, start, air, dry)
        if bool((s["glow"] > 0.5).any()):
            canvas.light = torch.zeros_like(canvas.image)
        if want_ids:
            canvas.ids = torch.full((b, t, self.height, self.width), -1, device=self.device)

        order = torch.argsort(s["depth"], 2, descending=True)
        tracks = {k: v for k, v in s.items() if v.dim() == 3 and k != "box"}
        tracks["character"] = s["character"][:, None]
        tracks["id"] = torch.arange(layers, device=self.device)[None, None]
        far_to_near = {k: v.expand(b, t, layers).gather(2, order) for k, v in tracks.items()}
        shown = [i for i in range(layers) if bool((far_to_near["a"][:, :, i] > 0).any())]
        cast = [{k: v[:, :, i, None, None] for k, v in far_to_near.items()} for i in shown]  # b t 1 1 each
        mirrors = bool((canvas.wet > 0.02).any())
        for p in cast:  # what lies on the ground comes before all that stands on it
            self._shadow(canvas, p)
            if mirrors:
                self._reflection(canvas, p)
        for p in cast:
            self._drawing(canvas, p)

        image = self._falling(canvas.image, air, canvas.seconds)
        if canvas.light is not None:
            image = image + _bloom(canvas.light)
        flat = self._each([float(c.style == "flat") for c in scenes])[:, None, None, None, None]
        if bool(flat.any()):
            image = image + (_flatten(image) - image) * flat
        return image.clamp(0, 1), canvas.ids

    def _each(self, values: Sequence[float]) -> Tensor:
        """One number a scene, [b]."""
        return torch.tensor(values, device=self.device, dtype=torch.float32)

    def _prepare(self, s: Layers, scenes: Sequence[Tracks], start: int, air: Layers, dry: Tensor) -> _Canvas:
        """A canvas with the place on it and nobody there yet."""
        looks = [scenery.look(c.place) for c in scenes]
        rolled = bool((s["roll"].abs() > 1e-4).any())
        x, y = self._pixels(s, rolled)
        wet = torch.maximum(
            self._each([k.wet for k in looks]), self._each([c.weather["wet"] for c in scenes]) * dry
        )
        density = 0.012 * self._each([k.haze for k in looks]) + 0.05 * air["fog"]
        tint = torch.tensor([scenery.tint(c.place, c.time) for c in scenes], device=self.device)
        tint = tint[:, None, :, None, None]
        image, fog_colour = self._background(s, scenes, (x, y), tint, wet, density)
        seconds = (torch.arange(s["X"].shape[1], device=self.device) + start) / scenes[0].fps
        return _Canvas(x, y, rolled, tint, wet, density, seconds, image, fog_colour)

    def _pixels(self, s: Layers, rolled: bool) -> tuple[Tensor, Tensor]:
        """Pixel coordinates with the camera's roll undone: [1 1 h w], or [b t h w] when the camera rolls."""
        if not rolled:
            return self._x[None, None], self._y[None, None]
        c, n = torch.cos(s["roll"])[..., None, None], torch.sin(s["roll"])[..., None, None]
        dx, dy = self._x - self.width / 2, self._y - self.height / 2
        return self.width / 2 + dx * c + dy * n, self.height / 2 - dx * n + dy * c

    def _background(
        self,
        s: Layers,
        scenes: Sequence[Tracks],
        pixels: tuple[Tensor, Tensor],
        tint: Tensor,
        wet: Tensor,
        density: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sky and ground [b t 3 h w] and the colour of the distance [b t 3 1 1].

        Both are painted only once while the camera rests.
        """
        x, y = pixels
        b, t = s["cx"].shape
        still = all(bool((s[k] == s[k][:, :1]).all()) for k in _CAMERA)
        cam = {k: (s[k][:, :1] if still else s[k])[..., None, None] for k in (*_CAMERA, "horizon")}
        x, y = (x[:, :1], y[:, :1]) if still else (x, y)
        focal = cam["focal"] * self.height
        px, py = x - self.width / 2, y - cam["horizon"]
        skies = torch.stack([scenery.sky(c.place, c.time, c.weather["rain"] < 0.1) for c in scenes]).to(
            self.device
        )
        azimuth = (cam["yaw"] + torch.atan(px / focal)) / math.pi + 0.5
        height = 1 - torch.atan(py.abs() / focal) / scenery.SKY_TOP
        back = _lookup(skies, azimuth, height, wrap=True)  # b t 3 h w
        overcast = torch.tensor(
            [max(c.weather["rain"], c.weather["snow"]) for c in scenes], device=self.device
        )
        outdoor = torch.tensor([float(not scenery.look(c.place).indoor) for c in scenes], device=self.device)
        grey = (back.mean(2, keepdim=True) * 0.55 + 0.40 * tint.mean(2, keepdim=True)).expand_as(back)
        back = back + (grey - back) * (0.7 * overcast * outdoor)[:, None, None, None, None]
        fog_colour = back.mean((3, 4), keepdim=True)

        distance = focal * cam["cy"] / py.clamp(min=0.7)
        across = px * distance / focal
        c, n = torch.cos(cam["yaw"]), torch.sin(cam["yaw"])
        ground_x = across * c + distance * n + cam["cx"]
        ground_z = distance * c - across * n + cam["cz"]
        grounds = torch.stack([scenery.ground(scenery.look(k.place).ground) for k in scenes]).to(self.device)
        floor = _lookup(grounds, ground_x / scenery.TILE_METRES, ground_z / scenery.TILE_METRES, wrap=True)
        mean = grounds.mean((2, 3))[:, None, :, None, None]
        floor = (mean + (floor - mean) * torch.exp(-distance * 0.06)[:, :, None]) * tint
        mirror = wet[:, None, None, None] * (0.3 + 0.5 * torch.exp(-py.clamp(min=0) / (self.height * 0.25)))
        floor = floor + (back - floor) * mirror[:, :, None]
        fog = (1 - torch.exp(-distance * density[:, None, None, None]))[:, :, None]
        below = torch.sigmoid(py * 2)[:, :, None]
        image = back + (floor + (fog_colour - floor) * fog - back) * below
        mist = density[:, None, None, None, None].clamp(max=0.06) * 10
        image = image + (fog_colour - image) * mist * (1 - below) * 0.8
        return image.expand(b, t, *image.shape[2:]).contiguous(), fog_colour.expand(b, t, 3, 1, 1)

    def _shadow(self, canvas: _Canvas, p: Layers) -> None:
        """A soft blob under the drawing, wider and paler the higher it is."""
        wide = p["half_w"].clamp(min=1)
        above = ((p["floor"] - p["foot"]) / p["tall"].clamp(min=1)).clamp(0, 3)
        rx = wide * (0.95 + 0.3 * above)
        ry = (rx * 0.24).clamp(min=1)
        dark = (
            p["a"] * 0.42 * (1 - p["glow"]) / (1 + 1.5 * above) * (1 - 0.6 * canvas.wet[:, None, None, None])
        )
        dark = dark * (p["floor"] - p["foot"] > -0.5 * p["tall"])
        left, right, top, bottom = p["x"] - 2 * rx, p["x"] + 2 * rx, p["floor"] - 2 * ry, p["floor"] + 2 * ry
        at = self._window(left, right, top, bottom, dark, canvas.rolled)
        if at is None:
            return
        xs, ys = canvas.x[:, :, *at], canvas.y[:, :, *at]
        away = ((xs - p["x"]) / rx) ** 2 + ((ys - p["floor"]) / ry) ** 2
        canvas.image[..., *at] *= (1 - dark * torch.exp(-1.6 * away))[:, :, None]

    def _reflection(self, canvas: _Canvas, p: Layers) -> None:
        """The drawing mirrored at the ground, bent by ripples that grow smoothly away from the foot."""
        strength = canvas.wet[:, None, None, None]
        low = 2 * p["floor"] - p["top"]
        margin = 0.04 * self.height
        left, right, top, bottom = p["left"] - margin, p["right"] + margin, p["floor"] - 1, low + margin
        at = self._window(left, right, top, bottom, p["a"] * strength, canvas.rolled)
        if at is None:
            return
        xs, ys = canvas.x[:, :, *at], canvas.y[:, :, *at]
        depth = (ys - p["floor"]).clamp(min=0) / self.height
        wave = 2 * math.pi * ys / (0.05 * self.height)
        clock = canvas.seconds[None, :, None, None]
        bend = (torch.sin(wave + 5 * clock) + 0.6 * torch.sin(1.7 * wave - 7 * clock)) * 0.04 * depth
        rgba = self._sample(p, xs + bend.clamp(-0.012, 0.012) * self.height, 2 * p["floor"] - ys)
        fade = strength * 0.55 * torch.exp(-depth * 2.2) * torch.sigmoid((ys - p["floor"]) * 2)
        self._over(canvas, rgba * fade[:, :, None], p, at)

    def _drawing(self, canvas: _Canvas, p: Layers) -> None:
        """The drawing itself; what is under ground stays hidden."""
        at = self._window(p["left"] - 1, p["right"] + 1, p["top"] - 1, p["bottom"] + 1, p["a"], canvas.rolled)
        if at is None:
            return
        xs, ys = canvas.x[:, :, *at], canvas.y[:, :, *at]
        rgba = self._sample(p, xs, ys)
        buried = torch.where(p["Y"] < 0, torch.sigmoid((p["floor"] - ys) * 2), 1.0)
        rgba = rgba * buried[:, :, None]
        self._over(canvas, rgba, p, at)
        if canvas.ids is not None:
            canvas.ids[..., *at] = torch.where(rgba[:, :, 3] > 0.5, p["id"], canvas.ids[..., *at])

    def _coverage(self, s: Layers, layer: int) -> Tensor:
        """Pixels a layer would cover were nothing in front of it, [b t]."""
        p = {k: v[:, :, layer, None, None] for k, v in s.items() if v.dim() == 3 and k not in ("box",)}
        b, t, count = s["X"].shape
        for key in ("mid_u", "mid_v"):
            p[key] = s[key].expand(b, t, count)[:, :, layer, None, None]
        rgba = self._sample(p, *self._pixels(s, bool((s["roll"].abs() > 1e-4).any())))
        buried = torch.where(p["Y"] < 0, (p["floor"] > self._y).float(), 1.0)
        return ((rgba[:, :, 3] * buried) > 0.5).sum((2, 3))

    def _sample(self, p: Layers, x: Tensor, y: Tensor) -> Tensor:
        """The drawing's premultiplied rgba at pixels x y, [b t 4 h w]; 0 outside."""
        c, n = torch.cos(p["rot"]), torch.sin(p["rot"])
        dx, dy = x - p["x"], y - p["y"]
        mirror = 1 - 2 * p["flip"]
        u = (dx * c - dy * n) / (p["tile"] * p["wide"]) * mirror + p["mid_u"]
        v = (dx * n + dy * c) / (p["tile"] * p["squash"]) + p["mid_v"]
        inside = (u > 0) & (u < 1) & (v > 0) & (v < 1)
        size = self._mips.shape[2]
        level = torch.floor(torch.log2(size / p["tile"].clamp(min=1)) + 0.3).clamp(0, _MIP_LEVELS - 1)
        side = 2.0**-level  # of the level, in units of the tile
        left = torch.where(level == 0, 0.0, 1.0)
        top = torch.where(level > 1, 1 - 2 ** (1 - level), 0.0)
        edge = 0.5 / size / side  # half a texel keeps neighbours out
        at_u = (left + (u.clamp(0, 1) * (1 - 2 * edge) + edge) * side) / 1.5
        at_v = top + (v.clamp(0, 1) * (1 - 2 * edge) + edge) * side
        b, t, h, w = u.shape
        tex = self._mips[p["tex"].reshape(-1).long()].float()
        grid = torch.stack([at_u * 2 - 1, at_v * 2 - 1], -1).reshape(b * t, h, w, 2)
        rgba = F.grid_sample(tex, grid, mode="bilinear", padding_mode="border", align_corners=False)
        shown = inside * p["a"] / 255.0
        if bool((p["br"] > 0).any()):
            for k in range(3):  # three discs make a bite with teeth marks
                du, dv = u - p["bx"] + 0.10 * (k - 1), v - p["by"] - 0.07 * (k % 2)
                shown = shown * (du * du + dv * dv > (p["br"] * (1 - 0.2 * (k % 2))) ** 2)
        return rgba.reshape(b, t, 4, h, w) * shown[:, :, None]

    def _over(self, canvas: _Canvas, rgba: Tensor, p: Layers, at: Window) -> None:
        """Lay premultiplied rgba over the frames, lit, tinted and fogged."""
        alpha, glow = rgba[:, :, 3:], p["glow"][:, :, None]
        fog = 1 - torch.exp(-p["depth"] * canvas.density[:, None, None, None])
        fog = torch.where(p["character"] > 0, fog.clamp(max=_FOG_LIMIT), fog)[:, :, None]
        fill = _FILL * p["character"][:, :, None]
        light = (canvas.tint + (1 - canvas.tint) * fill) * (1 - glow) + 1.12 * glow
        colour = rgba[:, :, :3] * light * (1 - fog) + canvas.fog_colour * alpha * fog
        canvas.image[..., *at] = canvas.image[..., *at] * (1 - alpha) + colour
        if canvas.light is not None:
            canvas.light[..., *at] = canvas.light[..., *at] * (1 - alpha) + colour * (glow > 0.5)

    def _falling(self, image: Tensor, air: Layers, seconds: Tensor) -> Tensor:
        """Snow and rain in three depths; thinned, since each flake costs bits of a small latent."""
        clock = seconds[:, None, None]
        for kind, (drift, fall, colour, strength) in {
            "snow": (0.05, 0.20, 1.0, 0.9),
            "rain": (0.10, 1.5, 0.82, 0.34),
        }.items():
            if not bool((air[kind] > 0).any()):
                continue
            field = scenery.particles(kind).to(self.device)[None, None]
            for j, (scale, speed) in enumerate(((1.0, 1.0), (0.62, 1.5), (0.42, 2.0))):
                sway = 0.03 * torch.sin(clock * 2 + self._y * (5.0 / self.height)) if kind == "snow" else 0.0
                u = self._x / self.height * scale - clock * drift * scale * speed + 0.37 * j + sway
                v = self._y / self.height * scale - clock * fall * scale + 0.21 * j
                drops = _lookup(field, u[None], v[None], wrap=True) * air[kind][:, None, None, None, None]
                image = image + (colour - image) * drops * strength
        return image


def _edges(state: Layers) -> Tensor:
    return torch.stack([state["left"], state["top"], state["right"], state["bottom"]], -1)


def _lookup(texture: Tensor, u: Tensor, v: Tensor, wrap: bool) -> Tensor:
    """Bilinear texture [b c H W] at u v in 0..1, [b t h w] -> [b t c h w]; frames folded into rows, no copies."""
    b, t, h, w = torch.broadcast_shapes(u.shape, v.shape)
    b = max(b, texture.shape[0])
    if wrap:
        u = u - torch.floor(u)
        v = v - torch.floor(v) if texture.shape[2] == texture.shape[3] else v
    grid = torch.stack([u.expand(b, t, h, w) * 2 - 1, v.expand(b, t, h, w) * 2 - 1], -1)
    texture = texture.expand(b, *texture.shape[1:])
    found = F.grid_sample(
        texture, grid.reshape(b, t * h, w, 2), mode="bilinear", padding_mode="border", align_corners=False
    )
    return rearrange(found, "b c (t h) w -> b t c h w", t=t)


def _mip_atlas(tiles: Tensor) -> Tensor:
    """uint8 [n h w 4] -> uint8 [n 4 h 1.5h]: the tile, and to its right its halvings one below the other."""
    full = rearrange(tiles, "n h w c -> n c h w").float()
    size = full.shape[2]
    mips = torch.zeros(*full.shape[:3], size * 3 // 2)
    mips[..., :size] = full
    row, level = 0, full
    for _ in range(_MIP_LEVELS - 1):
        level = F.avg_pool2d(level, 2)
        side = level.shape[2]
        mips[:, :, row : row + side, size : size + side] = level
        row += side
    return mips.round().to(torch.uint8)


def _bloom(light: Tensor) -> Tensor:
    b, _, _, h, w = light.shape
    flat = rearrange(light, "b t c h w -> (b t) c h w")
    halo = torch.zeros_like(flat)
    for size in (4, 16):
        small = F.avg_pool2d(F.avg_pool2d(flat, size, ceil_mode=True), 3, 1, 1)
        halo = halo + F.interpolate(small, size=(h, w), mode="bilinear", align_corners=False)
    return rearrange(halo, "(b t) c h w -> b t c h w", b=b) * 0.6


def _flatten(image: Tensor) -> Tensor:
    """Flat illustration: few tones, more colour."""
    grey = image.mean(2, keepdim=True)
    return ((grey + (image - grey) * 1.35) * 7).round() / 7
