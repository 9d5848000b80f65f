"""Finished shots on disk, so that an interrupted film goes on where it stopped and a film can be made again in part.

A shot lies under the digest of all that decides it: whatever finds it there may use it, and nothing has to be
kept in step. A file appears whole or not at all; one that cannot be read counts as not there.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from longtake.errors import OutputError

LARGEST = 1 << 30
"""Bytes after which the shots not used for longest are dropped from the user's cache."""
_ABANDONED = 3600.0


@dataclass(frozen=True)
class Finished:
    """A shot that is made.

    latents: what is shown, b c f h w in float32.
    lead: latents before it (b c f h w) that the decoder starts from, when it carries another shot on or the model
        makes an image slot.
    seed: of the take that was kept.
    """

    latents: Tensor
    lead: Tensor | None = None
    seed: int = 0


class Shelf:
    """A folder of finished shots. `limit` drops the oldest beyond so many bytes; None keeps everything."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        """Raises OutputError when the folder cannot be made or written."""
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _error(folder, error) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(
                f"cannot keep finished shots in {folder}: it is not writable; use another --work"
            )
        self._tidy(limit)

    @classmethod
    def in_cache(cls) -> Shelf:
        """The user's own, bounded in size."""
        root = (
            os.environ.get("LONGTAKE_CACHE")
            or os.environ.get("XDG_CACHE_HOME")
            or str(Path.home() / ".cache")
        )
        return cls(Path(root) / "longtake" / "shots", LARGEST)

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def get(self, key: str) -> Finished | None:
        """The shot of this key, or None when it is not there or damaged."""
        path = self._path(key)
        try:
            tensors = safetensors.torch.load_file(path)
            os.utime(path)
            return Finished(tensors["latents"], tensors.get("lead"), int(tensors["seed"]))
        except (OSError, SafetensorError, KeyError):
            return None

    def put(self, key: str, shot: Finished) -> None:
        """Keep a shot. Raises OutputError when the disk is full."""
        tensors = {"latents": shot.latents.contiguous(), "seed": torch.tensor(shot.seed)}
        if shot.lead is not None:
            tensors["lead"] = shot.lead.contiguous()
        beside = self._path(key).with_suffix(f".{os.getpid()}.partial")
        try:
            with open(beside, "wb") as file:
                file.write(safetensors.torch.save(tensors))
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path(key))
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise _error(self.folder, error) from error

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _tidy(self, limit: int | None) -> None:
        """Drop what a killed process left half written, and the oldest shots beyond the limit."""
        with contextlib.suppress(OSError):  # another process may tidy at the same time
            for left in self.folder.glob("*.partial"):
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink(missing_ok=True)
            if limit is None:
                return
            room = limit
            shots = sorted(self.folder.glob("*.safetensors"), key=lambda p: p.stat().st_mtime, reverse=True)
            for path in shots:
                room -= path.stat().st_size
                if room < 0:
                    path.unlink(missing_ok=True)


def open_shelf(work: Path | None) -> tuple[Shelf | None, tuple[str, ...]]:
    """The shelf in `work`, or the user's own; where that cannot be had a film is made all the same, with a note.

    Raises OutputError when `work` cannot be used.
    """
    if work is not None:
        return Shelf(work), ()
    try:
        return Shelf.in_cache(), ()
    except OutputError as error:
        return None, (f"{error}; if it is interrupted, this film begins again",)


def _error(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot keep finished shots in {folder}: {error.strerror or error}; free some space or use another --work"
    )
