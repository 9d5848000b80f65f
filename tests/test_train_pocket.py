"""The whole plan, rehearsed at the smallest size: every part runs, the file that comes out makes a film."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from longtake.errors import RequestError
from longtake.judge.grader import load as load_grader
from longtake.model import checkpoint
from longtake.train.pocket import FAST, MODEL, SHARES, PocketPlan, train_pocket


def test_a_plan_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--minutes"):
        PocketPlan(tmp_path, 0)
    with pytest.raises(RequestError, match="add up"):
        PocketPlan(tmp_path, 1, shares=dict.fromkeys(SHARES, 0.5))


@pytest.mark.slow
def test_the_whole_plan_at_the_smallest_size(tmp_path: Path) -> None:
    plan = PocketPlan(
        tmp_path / "run", minutes=0.6, preset="xs", sizes=((128, 128),), workers=0, shard=4, batch=2,
        compile=False,
    )  # fmt: skip
    path = train_pocket(plan)
    assert path.name == MODEL
    spent = json.loads((plan.out / "progress.json").read_text())
    assert set(spent) == {*SHARES, "encode"}
    few = checkpoint.load(path.with_name(FAST))
    assert (few.config.sampling.steps, few.config.sampling.guidance) == (4, 1.0)
    models = checkpoint.load(path)
    assert few.extra == models.extra and few.config.sizes == models.config.sizes
    assert models.config.sizes == ((128, 128),)
    assert "1f415" in models.extra["vocabulary"]["subjects"]
    latents = torch.randn(1, models.config.vae.z, 1, *models.config.grid(128, 128))
    assert models.vae.decode(latents).shape == (1, 3, 4, 128, 128)
    assert load_grader(plan.out / "grader" / "grader.safetensors").words.place

    def steps() -> dict[str, int]:
        trained = ("vae", "text", "dit", "decoder", "distill", "grader")
        logs = {part: (plan.out / part / "log.jsonl").read_text() for part in trained}
        return {
            part: max(json.loads(line)["step"] for line in log.splitlines()) for part, log in logs.items()
        }

    before = steps()
    train_pocket(plan)  # everything is spent: nothing is trained again
    assert steps() == before
