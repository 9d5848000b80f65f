"""The shared loop, the transformer's training, and a rehearsal of the whole plan at toy size."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from longtake.adapt.lora import load_lora
from longtake.errors import RequestError, WeightsError
from longtake.model import checkpoint as weights
from longtake.model.presets import PRESETS
from longtake.model.tensorfile import read_safetensors, write_safetensors
from longtake.model.text import TextEncoder, train_tokenizer
from longtake.model.vae import VAE
from longtake.train.data import ClipMix, Mixture
from longtake.train.distill import DistillPlan, mixture_of, train_distill, walk
from longtake.train.dit import DitPlan, captions_of, train_dit
from longtake.train.loop import Budget, Checkpoint, Log, Pace, Randomness, StepResult, train
from longtake.train.lora import LoraConfig, train_lora
from longtake.train.optim import Average, OptimConfig, is_block_matrix, muon_and_adamw
from longtake.train.render import RenderPlan, encode_films, render_films, render_groups
from longtake.train.text import TextPlan, train_text
from longtake.train.vae import VaePlan, train_vae
from longtake.world.captions import caption
from longtake.world.sampler import PRESETS as VOCABULARIES
from longtake.world.sampler import sample_scene

SIZE = (64, 64)
CPU = torch.device("cpu")


# ---- the loop ----


def test_budget_is_one_of_minutes_and_steps() -> None:
    for minutes, steps in ((None, None), (1.0, 5), (0.0, None), (None, -3)):
        with pytest.raises(RequestError):
            Budget(minutes, steps)


def test_rate_warms_up_stays_and_ramps_down() -> None:
    pace = Pace(warmup=10)
    assert pace.factor(0, 0.0) == pytest.approx(0.1)
    assert pace.factor(500, 0.5) == 1
    assert pace.factor(900, 0.9) == pytest.approx(0.5)
    assert pace.factor(999, 0.999) == pytest.approx(0.01)


def test_each_parameter_has_one_optimizer() -> None:
    dit = PRESETS["xs"].dit
    model = weights_model("xs")
    optimizers = muon_and_adamw({"dit": model}, OptimConfig())
    ids = [id(p) for o in optimizers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    matrices = sum(p.numel() for n, p in model.named_parameters() if is_block_matrix(n, p))
    assert matrices > dit.layers * (8 * dit.dim**2)  # q k v o twice, at least
    assert not any(is_block_matrix(n, p) for n, p in model.named_parameters() if "norm" in n or "table" in n)


def weights_model(name: str) -> nn.Module:
    from longtake.model.dit import DiT

    return DiT(PRESETS[name].dit)


def test_average_follows_with_a_warm_up() -> None:
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0)
    average = Average({"m": module}, 0.999)
    module.weight.data.fill_(1)
    average.update(1)
    assert average.modules["m"].weight.item() == pytest.approx(1 - 1 / 21)


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path: Path) -> None:
    def state(width: int) -> Checkpoint:
        module = nn.Linear(width, width)
        optimizers = {"adamw": torch.optim.AdamW(module.parameters())}
        return Checkpoint(tmp_path / "state.safetensors", {"m": module}, optimizers, Randomness(0, CPU))

    assert not state(2).load()
    state(2).save()
    assert not list(tmp_path.glob("*.partial"))
    with pytest.raises(WeightsError, match="another configuration"):
        state(3).load()
    (tmp_path / "state.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match=r"state\.safetensors"):
        state(2).load()


def test_divergence_stops_the_run(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    optimizers = {"adamw": torch.optim.AdamW(module.parameters())}
    checkpoint = Checkpoint(tmp_path / "state.safetensors", {"m": module}, optimizers, Randomness(0, CPU))

    def forward(_share: float) -> StepResult:
        return StepResult(module(torch.full((1, 1), float("nan"))).sum(), 1)

    with pytest.raises(WeightsError, match="diverged"):
        train(forward, checkpoint, Budget(steps=3), Pace(report_seconds=0), Log(tmp_path, "test", quiet=True))


# ---- the transformer ----


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A folder with a random VAE and text encoder, and clips whose latents are smooth random fields."""
    config = PRESETS["xs"]
    vocabulary, rng = VOCABULARIES["pocket"], random.Random(0)
    scenes = [sample_scene(rng, vocabulary) for _ in range(8)]
    tokenizer = train_tokenizer([caption(s, "en", rng) for s in scenes for _ in range(20)], 400)
    weights.save(tmp_path / "vae.safetensors", {"vae": VAE(config.vae)}, config)
    text = TextEncoder(config.text)
    weights.save(tmp_path / "text.safetensors", {"text": text}, config, tokenizer.to_json())
    generator = torch.Generator().manual_seed(0)
    z = config.vae.z
    colours = torch.randn(8, z, 1, 1, 1, generator=generator)
    latents = colours + 0.1 * torch.randn(8, z, 12, 2, 2, generator=generator)
    tensors = {
        "latents": latents.half(),
        "masks": torch.zeros(8, 12, 2, 2, dtype=torch.uint8),
        "stills": latents[:, :, [0, 6]].transpose(1, 2).half().contiguous(),
        "still_masks": torch.zeros(8, 2, 2, 2, dtype=torch.uint8),
    }
    header = {"scenes": json.dumps([s.as_dict() for s in scenes])}
    for split in ("train", "held"):
        write_safetensors(tmp_path / "data" / f"clips-64x64-{split}-00000.safetensors", tensors, header)
    return tmp_path


def plan(folder: Path, out: str, **changes: object) -> DitPlan:
    return DitPlan(
        data=folder / "data", out=folder / out, vae=folder / "vae.safetensors",
        text=folder / "text.safetensors", preset="xs", sizes=(SIZE,), mixture=Mixture(clips=4, images=8),
        compile=False, held=4, prompts=("a dog", "一只狗"), quiet=True,
        **changes,  # type: ignore[arg-type]
    )  # fmt: skip


def test_learns_a_handful_of_clips(ready: Path) -> None:
    train_dit(plan(ready, "start"), Budget(steps=1))
    outcome = train_dit(plan(ready, "run", decay=0.9), Budget(steps=90))
    before = json.loads((ready / "start" / "log.jsonl").read_text().splitlines()[-1])
    for key in ("held_clip_0.6", "held_image_0.6"):
        assert outcome.values[key] < 0.5 * before[key], (key, outcome.values[key], before[key])
    assert (ready / "run" / "sheets" / "0000090.png").exists()
    models = weights.load(ready / "run" / "model.safetensors", device=CPU, dtype=torch.float32)
    assert models.dit is not None and models.text is not None and models.vae is not None
    warm = train_dit(plan(ready, "warm", init=ready / "run" / "model.safetensors"), Budget(steps=1))
    assert warm.values["held_clip_0.6"] < 0.6 * before["held_clip_0.6"]


def test_ctrl_c_saves_and_resume_is_bit_exact(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_dit(plan(ready, "whole"), Budget(steps=6))
    draw, calls = ClipMix.draw, []

    def interrupted(self: ClipMix, share: float) -> object:
        calls.append(share)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return draw(self, share)

    monkeypatch.setattr(ClipMix, "draw", interrupted)
    first = train_dit(plan(ready, "parts"), Budget(steps=6))
    assert first.interrupted and first.progress.step == 3
    second = train_dit(plan(ready, "parts"), Budget(steps=6))
    assert not second.interrupted and second.progress.step == 6
    whole, _ = read_safetensors(ready / "whole" / "state.safetensors")
    parts, _ = read_safetensors(ready / "parts" / "state.safetensors")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_captions_are_fresh_and_dropped_at_the_stated_rate() -> None:
    rng = random.Random(0)
    scene = sample_scene(rng, VOCABULARIES["pocket"])
    words = captions_of([scene] * 400, rng, 0.1)
    assert 20 <= words.count("") <= 65
    assert len(set(words)) > 10
    assert any(w and not w.isascii() for w in words) and any(w and w.isascii() for w in words)


# ---- everything once ----


def test_rehearsal_of_the_whole_plan(tmp_path: Path) -> None:
    """Render, text, VAE, encode, transformer: every stage runs on what the one before it wrote."""
    groups, films, clips = tmp_path / "groups", tmp_path / "films", tmp_path / "clips"
    for split in ("train", "held"):
        render_groups(RenderPlan(groups, SIZE, 4, split=split, workers=0))
    text = TextPlan(out=tmp_path / "text", preset="xs", batch=16, corpus=200, quiet=True)
    train_text(text, Budget(steps=3))
    vae = VaePlan(
        data=groups,
        out=tmp_path / "vae",
        preset="xs",
        sizes=(SIZE,),
        batch=2,
        compile=False,
        held=4,
        quiet=True,
    )
    train_vae(vae, Budget(steps=3))
    finished = tmp_path / "vae" / "vae.safetensors"
    for split in ("train", "held"):
        render_films(RenderPlan(films, SIZE, 2, split=split, workers=0))
    encode_films(films, clips, finished)
    dit = DitPlan(
        data=clips, out=tmp_path / "dit", vae=finished, text=tmp_path / "text" / "text.safetensors",
        preset="xs", sizes=(SIZE,),
        mixture=Mixture(clips=2, images=4), compile=False, held=2, prompts=("a dog",), quiet=True,
    )  # fmt: skip
    outcome = train_dit(dit, Budget(steps=3))
    assert outcome.progress.step == 3
    models = weights.load(tmp_path / "dit" / "model.safetensors", device=CPU, dtype=torch.float32)
    assert models.vae is not None and set(models.vae.config.std) != {1.0}
    assert {"dit", "vae", "text"} == {
        name.split(".")[0] for name in read_safetensors(tmp_path / "dit" / "model.safetensors")[0]
    }


def test_an_adapter_learns_and_loads_back(ready: Path) -> None:
    model = train_dit(plan(ready, "model"), Budget(steps=1))
    assert not model.interrupted
    start = plan(ready, "lora", init=ready / "model" / "model.safetensors")
    outcome = train_lora(start, LoraConfig(rank=4, alpha=4, rate=5e-3), Budget(steps=30))
    path = ready / "lora" / "lora.safetensors"
    network = weights.load(ready / "model" / "model.safetensors").dit
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lora = load_lora(path, network)
    assert len(lora.layers) == 10 * PRESETS["xs"].dit.layers
    assert any(layer.up.abs().max() > 0 for layer in lora.layers.values())
    lora.detach()
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert outcome.values["held_clip_0.6"] < model.values["held_clip_0.6"]
    again = train_lora(start, LoraConfig(rank=4, alpha=4, rate=5e-3), Budget(steps=31))
    assert again.progress.step == 31


def test_one_long_step_is_learned_from_two_guided_ones(ready: Path) -> None:
    train_dit(plan(ready, "model"), Budget(steps=30))
    init = ready / "model" / "model.safetensors"
    start = DistillPlan(
        data=ready / "data", out=ready / "few", vae=init, text=init, init=init, preset="xs", sizes=(SIZE,),
        mixture=mixture_of(4), student_steps=2, lora=LoraConfig(rank=8, alpha=8, rate=3e-3), held=4, compile=False,
        quiet=True,
    )  # fmt: skip
    before = train_distill(start, Budget(steps=1)).values
    after = train_distill(start, Budget(steps=60)).values
    assert after["apart_hasty"] == before["apart_hasty"], "the teacher stays as it is"
    assert after["apart"] < 0.8 * before["apart"]

    told = weights.load(ready / "few" / "model.safetensors")
    assert (told.config.sampling.steps, told.config.sampling.guidance) == (2, 1.0)
    network = weights.load(init).dit
    load_lora(ready / "few" / "lora.safetensors", network)
    x, text = torch.randn(1, 16, 2, 2, 2), torch.randn(1, 8, 128)
    level, places = torch.full((1, 2), 500.0), torch.arange(2)
    with torch.no_grad():
        fused, hooked = (each(x, level, text, places) for each in (told.dit, network))
    assert (fused - hooked).norm() < 0.02 * hooked.norm()


def test_a_walk_in_one_step_and_in_many_ends_where_the_estimate_points() -> None:
    x0, x = torch.randn(1, 4, 3, 2, 2), torch.randn(1, 4, 3, 2, 2)
    begin, end = torch.tensor([[1.0, 0.6, 0.1]]), torch.tensor([[0.0, 0.0, 0.1]])
    for steps in (1, 5):
        reached = walk(lambda _x, _sigma: x0, x, begin, end, steps, 2.5)
        assert torch.allclose(reached[:, :, :2], x0[:, :, :2], atol=1e-5)
        assert torch.equal(reached[:, :, 2], x[:, :, 2]), "what is given stays"
