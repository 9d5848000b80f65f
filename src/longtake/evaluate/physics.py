"""Physics read from where things are: the same measurement on the stage's own paths and on those of a clip.

A path is x y w h certainty in every frame, [t 5]; positions are shares of the picture, x to the right and y down.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from longtake.judge.grader import SEEN
from longtake.world.duo import FRICTION


def fall_rate(path: np.ndarray, fps: int) -> float | None:
    """Acceleration downwards while in the air, in the subject's own heights a second squared; None where nothing falls.

    Of the times in which it is seen above the ground, those at rest before a fall left out, the longest that a parabola
    explains is taken.
    """
    y, height = path[:, 1], max(float(np.median(path[:, 3])), 1e-3)
    ground, travel = float(np.quantile(y, 0.95)), float(np.ptp(y))
    if travel < 0.5 * height:
        return None
    in_air = (path[:, 4] > SEEN) & (ground - y > 0.15 * travel)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], in_air, [False]]).astype(int)))
    found = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        held = int((y[start:end] > y[start] + 0.03 * travel).argmax())  # 0 when it never comes down
        part = y[start + max(0, held - 1) : end]
        t = np.arange(len(part)) / fps
        if len(part) < 4:
            continue
        curve = np.polyfit(t, part, 2)
        off = float(np.sqrt(np.square(part - np.polyval(curve, t)).mean()))
        if curve[0] > 0 and off < 0.05 * travel:
            found.append((len(part), 2 * float(curve[0]) / height))
    return max(found)[1] if found else None


def rebound(path: np.ndarray) -> float | None:
    """Height of the second rise over that of the first drop, of something that bounces; None if it does not."""
    if (path[:, 4] < SEEN).mean() > 0.3:
        return None
    y = path[:, 1]
    ground, travel = float(np.quantile(y, 0.95)), float(np.ptp(y))
    low = [
        i
        for i in range(1, len(y) - 1)
        if y[i] >= y[i - 1] and y[i] >= y[i + 1] and ground - y[i] < 0.25 * travel
    ]
    if travel < 0.05:
        return None
    # between two landings it must have left the ground, or they are one
    tops = [(i, j, ground - float(y[i : j + 1].min())) for i, j in pairwise(low)]
    risen = [top for _, _, top in tops if top > 0.08 * travel]
    dropped = ground - float(y[: low[0] + 1].min()) if low else 0.0
    return risen[0] / dropped if risen and dropped > 0.3 * travel else None


def momentum(a: np.ndarray, b: np.ndarray, masses: tuple[float, float], fps: int) -> float | None:
    """Momentum of both just after A ran into B, over A's just before; None where nothing collides. 1: it is kept.

    Both paths are fitted at once, by least squares over the moment of the touch: A comes evenly and B rests; from then
    on both slow down by the stage's friction, x + speed * FRICTION * (1 - exp(-t / FRICTION)).
    """
    seen = _whole(a) & _whole(b)
    if seen.mean() < 0.4:
        return None
    at, xa, xb = np.flatnonzero(seen), a[seen, 0], b[seen, 0]
    fits = []
    for touch in np.arange(4, len(a) - 4, 0.25):
        t = (at - touch) / fps
        one, run, slide = (
            np.ones(len(t)),
            np.minimum(t, 0),
            FRICTION * (1 - np.exp(-np.maximum(t, 0) / FRICTION)),
        )
        if (t < 0).sum() < 4 or (t > 0).sum() < 4:
            continue
        base_a, base_b = np.stack([one, run, slide], -1), np.stack([one, slide], -1)
        of_a, of_b = np.linalg.lstsq(base_a, xa)[0], np.linalg.lstsq(base_b, xb)[0]
        off = np.square(base_a @ of_a - xa).mean() + np.square(base_b @ of_b - xb).mean()
        fits.append((float(off), of_a, of_b))
    if not fits:
        return None
    off, (place_a, before, after_a), (place_b, after_b) = min(fits, key=lambda fit: fit[0])
    gap = abs(place_b - place_a) / max((np.median(a[seen, 2]) + np.median(b[seen, 2])) / 2, 1e-3)
    meets = before * (place_b - place_a) > 0 and abs(before) > 0.03 and gap < 1.4
    if not meets or off**0.5 > 0.25 * abs(before):
        return None
    return float((masses[0] * after_a + masses[1] * after_b) / (masses[0] * before))


def _whole(path: np.ndarray) -> np.ndarray:
    """Where something is seen and not cut by the edge of the picture, [t]."""
    inside: np.ndarray = np.abs(path[:, 0] - 0.5) + path[:, 2] / 2 < 0.5
    return inside & (path[:, 4] > SEEN)
