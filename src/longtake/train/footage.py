"""A user's own footage as pieces for VAE training: only what the admission ledger admits.

The paper theatre's renders need no ledger, because they are computed here from scenes. Everything else that is
trained on comes through this door, and the door asks the ledger for each file's bytes (curate/ledger.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtake.curate.ledger import admitted_files
from longtake.errors import RequestError
from longtake.finish.size import fit
from longtake.model.tensorfile import write_safetensors
from longtake.train.data import PIECE
from longtake.video import is_picture, read_frames

FPS = 12
PER_SHARD = 64
APART = 4
"""Of the pieces of a film one in so many is kept: neighbours are alike."""


def import_footage(folder: Path, ledger: Path, out: Path, size: tuple[int, int]) -> list[Path]:
    """Cut admitted films into pieces of PIECE frames of `size` (width, height); returns the shards.

    Raises RequestError for a file the ledger does not admit, and then nothing is written.
    """
    films = [path for path in admitted_files(folder, ledger) if not is_picture(path)]
    if not films:
        raise RequestError(f"there are only pictures in {folder}; the autoencoder learns from films")
    made: list[Path] = []
    held: list[Tensor] = []
    admitted_by = hashlib.sha256(ledger.read_bytes()).hexdigest()

    def keep() -> None:
        path = out / f"groups-{size[0]}x{size[1]}-train-footage{len(made):05d}.safetensors"
        whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(held), PIECE, 4).contiguous()
        write_safetensors(path, {"frames": torch.stack(held), "boxes": whole}, {"ledger": admitted_by})
        made.append(path)
        held.clear()

    out.mkdir(parents=True, exist_ok=True)
    for film in films:
        for piece in _pieces(film, size):
            held.append(piece)
            if len(held) == PER_SHARD:
                keep()
    if held:
        keep()
    if not made:
        raise RequestError(f"no film in {folder} has {PIECE} frames at {FPS} a second; give longer ones")
    return made


def _pieces(film: Path, size: tuple[int, int]) -> Iterator[Tensor]:
    """uint8 [3 PIECE h w], one in APART."""
    frames: list[Tensor] = []
    number = 0
    with closing(read_frames(film, fps=FPS)) as pictures:
        for picture in pictures:
            if number // PIECE % APART == 0:
                pixels = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
                frames.append(fit(pixels, *size)[0].clamp(0, 255).round().to(torch.uint8))
            number += 1
            if len(frames) == PIECE:
                yield torch.stack(frames, 1)
                frames = []
