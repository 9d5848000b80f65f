"""The shelf of finished shots: whole or not there, and bounded."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from longtake.errors import OutputError
from longtake.film.shelf import Finished, Shelf, open_shelf


def shot(seed: int = 0) -> Finished:
    return Finished(torch.randn(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)))


def test_what_is_put_comes_back_bit_for_bit(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "new" / "folder")
    given = Finished(shot().latents, shot(1).latents[:, :, :1])
    shelf.put("a", given)
    found = Shelf(shelf.folder).get("a")
    assert "a" in shelf and "b" not in shelf and shelf.get("b") is None
    assert found is not None and found.lead is not None and given.lead is not None
    assert torch.equal(found.latents, given.latents) and torch.equal(found.lead, given.lead)
    assert [path.name for path in shelf.folder.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_shot_counts_as_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    assert Shelf(tmp_path).get("a") is None


def test_the_oldest_are_dropped_and_what_a_kill_left_is_swept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for number, name in enumerate("abc"):
        shelf.put(name, shot())
        os.utime(tmp_path / f"{name}.safetensors", (number, number))
    (tmp_path / "d.1.partial").touch()
    (tmp_path / "e.1.partial").touch()
    os.utime(tmp_path / "d.1.partial", (0, time.time() - 86400))
    size = (tmp_path / "a.safetensors").stat().st_size
    Shelf(tmp_path, limit=2 * size)
    assert {path.name for path in tmp_path.iterdir()} == {"b.safetensors", "c.safetensors", "e.1.partial"}


def test_a_folder_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot keep finished shots in .*file"):
        open_shelf(tmp_path / "file")
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "file"))
    shelf, notes = open_shelf(None)
    assert shelf is None and "begins again" in notes[0]
