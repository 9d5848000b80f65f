"""How long each shot lasts: weights shared out so that the film is exactly as long as asked.

Everything is counted on a grid, half a second where the length allows it, else single frames; nothing is rounded away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from longtake.director.vocabulary import language_of

SHORTEST, LONGEST = 2.0, 8.0
"""Seconds a shot of the director's own choosing lasts."""
WORDS_A_SECOND, CHARACTERS_A_SECOND = 2.5, 4.0
"""Narration speed, English and Chinese."""
_PAUSE = 0.3
"""Before and after speech, seconds in all."""


def speaking_seconds(text: str) -> float:
    """How long a text takes to say; 0 for none."""
    if not text.strip():
        return 0.0
    if language_of(text) == "zh":
        count = len(re.findall(r"[\u4e00-\u9fff]", text)) + len(re.findall(r"[A-Za-z0-9]+", text))
        return count / CHARACTERS_A_SECOND + _PAUSE
    return len(re.findall(r"[\w']+", text)) / WORDS_A_SECOND + _PAUSE


def share_out(
    weights: Sequence[float], seconds: float, fps: int, least: Sequence[float] = (), most: float = LONGEST
) -> list[float]:
    """Durations in proportion to `weights` that add up to `seconds`, each within `least` and `most` where that can be.

    When the bounds cannot all be kept, `most` gives way first, then `least` in proportion.
    """
    count = len(weights)
    frames = round(seconds * fps)
    unit = next(u for u in (fps // 2, fps // 4, 1) if u and frames % u == 0 and frames // u >= count)
    total = frames // unit
    floor = list(least) if least else [SHORTEST] * count
    if sum(floor) > seconds:
        floor = [f * seconds / sum(floor) for f in floor]
    low = [f * fps / unit for f in floor]
    high = max(most * fps / unit, total / count)
    shares = _bounded([max(w, 1e-6) for w in weights], total, low, [max(high, lo) for lo in low])
    whole = [max(1, int(s + 1e-9)) for s in shares]
    order = sorted(range(count), key=lambda i: (whole[i] - shares[i], i))
    rest, i = total - sum(whole), 0
    while rest != 0:
        k = order[i % count] if rest > 0 else order[-1 - i % count]
        step = 1 if rest > 0 else -1
        if whole[k] + step >= 1:
            whole[k] += step
            rest -= step
        i += 1
    return [w * unit / fps for w in whole]


def _bounded(weights: list[float], total: float, low: list[float], high: list[float]) -> list[float]:
    """Water filling: proportional shares, those out of bounds pinned to their bound, the others shared again."""
    pinned: dict[int, float] = {}
    while True:
        free = [i for i in range(len(weights)) if i not in pinned]
        if not free:
            return [pinned[i] for i in range(len(weights))]
        left = total - sum(pinned.values())
        scale = left / sum(weights[i] for i in free)
        under = [i for i in free if weights[i] * scale < low[i] - 1e-9]
        over = [i for i in free if weights[i] * scale > high[i] + 1e-9]
        if not under and not over:
            return [pinned.get(i, weights[i] * scale) for i in range(len(weights))]
        short = sum(low[i] - weights[i] * scale for i in under)
        spare = sum(weights[i] * scale - high[i] for i in over)
        for i in under if short >= spare else over:
            pinned[i] = low[i] if short >= spare else high[i]
