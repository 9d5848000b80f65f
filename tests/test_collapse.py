"""Training on made pictures: the measures, the guard between generations, and the experiment end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longtake.curate.guard import admit
from longtake.errors import RequestError
from longtake.evaluate import collapse
from longtake.evaluate.collapse import ROWS, CollapsePlan, made_tags, run, write_pictures
from longtake.evaluate.collapse_report import table, write_collapse
from longtake.evaluate.distribution import Components, diversity, frechet, recall
from longtake.evaluate.tiny import Recipe
from longtake.provenance.label import burn, match


@pytest.fixture(autouse=True)
def own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "keys"))


def scenes(count: int, seed: int = 0) -> collapse.Pictures:
    """Smooth random pictures: quicker than the stage."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 255, (count, 2, 2, 3))
    rows = np.linspace(0, 1, collapse.HEIGHT)[None, :, None, None]
    columns = np.linspace(0, 1, collapse.WIDTH)[None, None, :, None]
    top = corners[:, None, None, 0, 0] * (1 - columns) + corners[:, None, None, 0, 1] * columns
    bottom = corners[:, None, None, 1, 0] * (1 - columns) + corners[:, None, None, 1, 1] * columns
    return np.asarray(top * (1 - rows) + bottom * rows).astype(np.uint8)


def test_frechet_of_gaussians_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(100_000, 2)) * (1.0, 2.0)
    b = rng.normal(size=(100_000, 2)) * (3.0, 2.0) + (1.0, 0.0)
    assert frechet(a, b) == pytest.approx(1 + (3 - 1) ** 2, rel=0.03)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_is_right_for_covariances_that_do_not_commute() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) for _ in "ab")
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values) @ vectors.T
    middle = np.sqrt(np.linalg.eigvalsh(root @ second @ root)).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second) - 2 * middle
    assert frechet(a, b) == pytest.approx(expected)


def test_diversity_and_recall_see_what_is_missing() -> None:
    rng = np.random.default_rng(2)
    real, same = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    narrow = same * 0.2
    assert diversity(same, real) == pytest.approx(1, abs=0.05)
    assert diversity(narrow, real) == pytest.approx(0.2, abs=0.02)
    assert recall(same, real) > 0.8
    assert recall(narrow, real) < 0.2
    assert recall(real, narrow) > 0.9  # what is made lies among the real: precise, but narrow


def test_whitening_is_undone() -> None:
    pictures = np.random.default_rng(3).normal(size=(50, 12))
    space = Components.of(pictures, 12)
    assert space.whiten(pictures).std(0) == pytest.approx(np.ones(12))
    assert space.restore(space.whiten(pictures)) == pytest.approx(pictures)


def test_the_guard_admits_exactly_the_real_files(tmp_path: Path) -> None:
    pictures = scenes(12)
    real = write_pictures(tmp_path, "real", pictures)
    made = write_pictures(tmp_path, "made", pictures, made_tags(0, 2, "half"))
    assert {admit(path).decision for path in real} == {"admitted"}
    assert {(a.decision, a.signal) for a in map(admit, made)} == {("rejected", "AIGC key")}


def test_no_label_is_seen_where_letters_cannot_be_read() -> None:
    noise = np.random.default_rng(4).integers(0, 255, (60, 12, 20, 3), dtype=np.uint8)
    assert max(match(picture) for picture in noise) < 0
    assert match(burn(np.full((96, 160, 3), 90, np.uint8), 0.0)) > 0.9


def test_two_generations_and_going_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapse, "render", lambda count, seed: scenes(count, seed))
    plan = CollapsePlan(
        tmp_path / "out", seeds=1, generations=2, pictures=20, recipe=Recipe(steps=3, width=16)
    )
    first = list(run(plan))
    rows = {(row.mix, row.guard, row.generation): row for row in first}
    assert len(rows) == 16
    assert (rows["half", True, 2].trained_on, rows["half", True, 2].refused) == (10, 10)
    assert (rows["half", False, 2].trained_on, rows["half", False, 2].real) == (20, 10)
    assert (rows["most", True, 2].real, rows["replace", False, 2].real) == (2, 0)
    assert rows["replace", True, 2].trained_on == 0
    assert rows["clean", True, 2] == rows["clean", False, 2].__class__(
        **{**vars(rows["clean", False, 2]), "guard": True}
    )

    kept = plan.out / ROWS
    lines = kept.read_text().splitlines()
    kept.write_text("\n".join(lines[:9]) + '\n{"seed": 0, "mi')
    assert list(run(plan)) == first  # the cut line and what was missing, made again and the same

    def never(*_: object) -> None:
        raise AssertionError("everything was already there")

    monkeypatch.setattr(collapse, "train", never)
    assert list(run(plan)) == first
    pytest.importorskip("matplotlib")
    result = write_collapse(plan, first)
    assert len(result["mean"]) == 16
    assert "<svg" in (plan.out / "collapse.svg").read_text(encoding="utf-8")
    assert (plan.out / "sheet.png").stat().st_size > 1000
    assert table(first).count("\n") == 2 + 8


def test_other_settings_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapse, "render", lambda count, seed: scenes(count, seed))
    next(run(CollapsePlan(tmp_path, 1, 2, 20, Recipe(steps=1, width=16))))
    with pytest.raises(RequestError, match="other settings"):
        next(run(CollapsePlan(tmp_path, 1, 2, 30, Recipe(steps=1, width=16))))


@pytest.mark.parametrize(
    "bad", [{"seeds": 0}, {"generations": 1}, {"pictures": 5}, {"recipe": Recipe(steps=0)}]
)
def test_bad_options_are_said(tmp_path: Path, bad: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        CollapsePlan(tmp_path, **bad)  # type: ignore[arg-type]
