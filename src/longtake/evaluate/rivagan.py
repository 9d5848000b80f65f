"""Another mark in the same suite: RivaGAN (Zhang et al. 2019, arXiv:1909.01285), as `invisible-watermark` ships it.

That package is no longer kept and asks for OpenCV; only its two networks are needed, so they are run as they are, frame
by frame, the way its `rivaGan.py` does. 32 bits a frame, without a code that mends and without a search for geometry.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import MissingExtraError
from longtake.evaluate.attacks import Frames
from longtake.video import Frame

BITS = np.unpackbits(np.frombuffer(b"\x5e\xed\x5e\xed", np.uint8)).astype(np.float32)
THRESHOLD = 0.52
READ = 2
"""Frames that are read of a film, evenly spaced; their answers are added up. One takes seconds on a CPU core."""


@lru_cache(maxsize=1)
def _networks() -> tuple[Any, Any]:
    """(encoder, decoder). Raises MissingExtraError."""
    found = find_spec("imwatermark")
    if found is None or found.origin is None or find_spec("onnxruntime") is None:
        raise MissingExtraError(
            "RivaGAN comes with two packages: pip install --no-deps invisible-watermark, and pip install onnxruntime"
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    folder = Path(found.origin).parent
    encoder, decoder = (
        onnxruntime.InferenceSession(str(folder / f"rivagan_{part}.onnx"), options)
        for part in ("encoder", "decoder")
    )
    return encoder, decoder


def _as_input(frame: Frame) -> np.ndarray[Any, np.dtype[np.float32]]:
    """h w 3 -> 1 3 1 h w in [-1, 1], blue first."""
    scaled = frame[..., ::-1].astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None, :, None])


def mark(frames: Frames) -> Frames:
    """Every frame with the 32 bits in it."""
    encoder, _ = _networks()
    marked = []
    for frame in frames:
        (out,) = encoder.run(None, {"frame": _as_input(frame), "data": BITS[None]})
        pixels = (np.clip(out[0, :, 0], -1, 1) + 1) * 127.5
        marked.append(np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., ::-1]).astype(np.uint8))
    return marked


def read(frames: Frames) -> dict[str, float]:
    """Share of the bits that come out, and whether all do."""
    _, decoder = _networks()
    places = np.linspace(0, len(frames) - 1, min(READ, len(frames))).round().astype(int)
    total = np.mean([decoder.run(None, {"frame": _as_input(frames[i])})[0][0] for i in places], 0)
    right = (total > THRESHOLD) == (BITS > 0)
    return {"bits": float(right.mean()), "hit": float(right.all())}
