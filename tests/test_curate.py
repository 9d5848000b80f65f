"""The guard and its ledger: made films are refused, unknown ones are not called real, and no byte changes unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.curate.guard import admit, digest, files
from longtake.curate.ledger import admitted_files, read_ledger, write_ledger
from longtake.errors import RequestError
from longtake.provenance.marking import Marks
from longtake.request import Request
from longtake.train.footage import import_footage
from longtake.video import Writer, read_frames


def footage(path: Path, tags: dict[str, str] | None = None, marks: Marks | None = None) -> Path:
    writer = Writer(path, 448, 256, 12, tags or {})
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(30, 220, (16, 28, 3), dtype=np.uint8)).resize((448, 256), 3)
    for t in range(9):
        frame = np.roll(np.asarray(small), 3 * t, 1)
        writer.write(marks.apply(frame, t / 12) if marks else frame)
    writer.finish()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f").mkdir()
    footage(tmp_path / "f" / "plain.mp4")
    return tmp_path / "f"


def test_each_signal_refuses_in_its_turn(tmp_path: Path) -> None:
    marks = Marks(Request(prompt="a dog", size="448x256", seed=1), "test 0", "a dog")
    made = footage(tmp_path / "made.mp4", marks.tags, marks)
    assert admit(made).signal == "AIGC key"
    marks.seal(made, "made")
    assert admit(made).signal == "C2PA source type"
    assert admit(made, frozenset({digest(made)})).signal == "ledger of own films"
    assert admit(footage(tmp_path / "named.mp4", {"comment": "made with Sora"})).signal == "metadata strings"
    stripped = tmp_path / "stripped.mp4"
    writer = Writer(stripped, 448, 256, 12, {})
    for frame in read_frames(made):
        writer.write(frame)
    writer.finish()
    entry = admit(stripped)
    assert (entry.decision, entry.signal) == ("rejected", "pixel mark")


def test_unknown_footage_is_admitted_but_not_called_real(folder: Path) -> None:
    entry = admit(folder / "plain.mp4")
    assert entry.decision == "admitted" and "unknown" in entry.detail and "real" not in entry.detail


def test_what_cannot_be_read_is_not_admitted(folder: Path) -> None:
    (folder / "broken.mp4").write_bytes(b"nothing")
    assert admit(folder / "broken.mp4").decision == "unreadable"
    assert [path.name for path in files(folder)] == ["broken.mp4", "plain.mp4"]


def test_training_takes_what_the_ledger_holds_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    ledger, out = tmp_path / "ledger.jsonl", tmp_path / "out"
    write_ledger(ledger, [admit(path) for path in files(folder)])
    assert admitted_files(folder, ledger) == [folder / "plain.mp4"]
    (shard,) = import_footage(folder, ledger, out, (64, 32))
    assert shard.name == "groups-64x32-train-footage00000.safetensors"
    (folder / "new.mp4").write_bytes((folder / "plain.mp4").read_bytes() + b"\0")
    with pytest.raises(RequestError, match="is not admitted"):
        import_footage(folder, ledger, tmp_path / "none", (64, 32))
    assert not (tmp_path / "none").exists()


def test_a_ledger_changed_by_hand_is_worthless(folder: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    write_ledger(ledger, [admit(path) for path in files(folder)])
    assert read_ledger(ledger)[0].decision == "admitted"
    text = ledger.read_text()
    for changed in (text.replace("plain", "other"), "\n".join(text.splitlines()[1:]), "", "{}"):
        ledger.write_text(changed)
        with pytest.raises(RequestError, match="longtake curate"):
            read_ledger(ledger)
