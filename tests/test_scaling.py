"""A law that is put in comes out, and only readings that nothing cheaper beats count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from longtake.errors import RequestError
from longtake.evaluate.scaling import Point, ScalingPlan, fit, frontier, read_points


def test_a_known_law_is_recovered() -> None:
    cost = np.geomspace(1e12, 1e15, 12)
    found = fit([Point("xs", c, 0.05 + 40 * c**-0.2) for c in cost])
    assert found.exponent == pytest.approx(0.2, rel=0.1)
    assert found.floor == pytest.approx(0.05, abs=0.01)
    assert found(cost) == pytest.approx(0.05 + 40 * cost**-0.2, rel=0.02)


def test_the_frontier_leaves_out_what_something_cheaper_beats() -> None:
    points = [
        Point("s", 4, 0.3),
        Point("xs", 1, 0.5),
        Point("xs", 2, 0.6),
        Point("s", 3, 0.5),
        Point("m", 5, 0.2),
    ]
    assert [(p.flops, p.loss) for p in frontier(points)] == [(1, 0.5), (4, 0.3), (5, 0.2)]


def test_readings_are_the_rows_where_the_loss_was_measured_anew(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "loss": 1.0},
        {"step": 10, "held_clip_0.3": 0.1, "held_clip_0.6": 0.2, "held_clip_0.9": 0.3, "held_clip_1.0": 0.2},
        {"step": 15, "held_clip_0.3": 0.1, "held_clip_0.6": 0.2, "held_clip_0.9": 0.3, "held_clip_1.0": 0.2},
        {
            "step": 20,
            "held_clip_0.3": 0.05,
            "held_clip_0.6": 0.1,
            "held_clip_0.9": 0.15,
            "held_clip_1.0": 0.1,
        },
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(map(json.dumps, rows)))
    points = list(read_points("xs", log, 100.0))
    assert [(p.flops, pytest.approx(p.loss)) for p in points] == [(1000, 0.2), (2000, 0.1)]


def test_too_little_to_fit_is_said(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--minutes"):
        fit([Point("xs", 1, 1), Point("xs", 2, 0.5)])
    with pytest.raises(RequestError, match="--presets"):
        ScalingPlan(tmp_path, tmp_path, tmp_path, tmp_path, ("xs",))
