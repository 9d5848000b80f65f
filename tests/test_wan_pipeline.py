"""Every Wan variant from a folder to a marked film, and whole pipelines beside diffusers'."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wan_checkpoints as tiny
from PIL import Image
from test_wan import CLOSE, HALF, apart, strayed

from longtake import footage, pipeline
from longtake.diffusion import film
from longtake.diffusion.sample import predictor
from longtake.model import wan
from longtake.provenance.verify import verify
from longtake.request import Film, build_request

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

DESCENDANTS = {"distilled": "t2v", "distilled-ti2v": "ti2v", "causal": "t2v"}
"""Variants that differ from a basic one by what their JSON files say."""


def folder_of(variant: str, root: Path, base: int = 4) -> tuple[Path, dict[str, Any]]:
    """A tiny random checkpoint as it is published, and its networks; `base`: width of the autoencoder."""
    torch.manual_seed(1)
    kind = DESCENDANTS.get(variant, variant)
    made = tiny.write_diffusers(root / variant, kind, tiny.parts(kind, base))
    if variant.startswith("distilled"):
        _say(root / variant / "model_index.json", "WanDMDPipeline")
    if variant == "causal":
        _say(root / variant / "transformer" / "config.json", "CausalWanTransformer3DModel")
    return root / variant, made


def _say(path: Path, name: str) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": name}))


def picture(folder: Path, side: int = 64) -> Path:
    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    pixels = np.stack(
        [np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.full((side, side), 90)], 2
    )
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "picture.png")
    return folder / "picture.png"


class Calls:
    """Counts the forwards of a network."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.count = 0
        network.register_forward_pre_hook(lambda *_: self._one())

    def _one(self) -> None:
        self.count += 1


@pytest.mark.parametrize(
    "variant", ["t2v", "i2v", "ti2v", "ti2v+picture", "t2v-a14b", "i2v-a14b", "distilled", "distilled-ti2v", "causal"]
)  # fmt: skip
def test_every_variant_makes_a_marked_film(variant: str, tmp_path: Path) -> None:
    variant, _, pictured = variant.partition("+")
    folder, _ = folder_of(variant, tmp_path)
    image = picture(tmp_path) if pictured or variant.startswith("i2v") else None
    models = wan.load(folder)
    steps = {"steps": 3} if variant not in DESCENDANTS else {}
    request = build_request(
        prompt="a dog runs in the snow", seconds=1.0, size="128x128", fps=12, seed=3, sound=False, model=str(folder),
        image=image, one_take=True, **steps,
    )  # fmt: skip
    dit: Any = models.dit
    experts = [Calls(each) for each in ((dit.high, dit.low) if "a14b" in variant else (dit,))]
    (made,) = [
        event
        for event in pipeline.generate(request, tmp_path / "film.mp4", models, work=tmp_path / "work")
        if isinstance(event, Film)
    ]
    assert (made.width, made.height, made.frames) == (128, 128, 12)
    assert verify(made.path).marked
    if variant.startswith("distilled"):
        assert models.config.sampling.levels == (1.0, 0.757, 0.522) and experts[0].count == 3
    elif (
        variant == "causal"
    ):  # blocks of three: one before the cut-off of four latents and the slot, one after
        assert experts[0].count == 2 * 4 + 1, "four steps each, and the first block once more to be kept"
    elif "a14b" in variant:
        assert all(expert.count for expert in experts) and sum(e.count for e in experts) == 3
    else:
        assert experts[0].count == 3


def test_a_folder_becomes_a_film_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from longtake.cli import main

    folder, _ = folder_of("ti2v", tmp_path)
    words = ("generate", "a dog in the snow", "--model", str(folder), "--image", str(picture(tmp_path)))
    options = ("--seconds", "0.5", "--size", "128x128", "--steps", "2", "--one-take", "--no-sound", "-o")
    film_path = tmp_path / "film.mp4"
    monkeypatch.setattr(
        "sys.argv", ["longtake", *words, *options, str(film_path), "--work", str(tmp_path / "work")]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    assert verify(film_path).marked


# ---- beside diffusers ----


@pytest.fixture(scope="module", params=["t2v", "i2v", "ti2v", "ti2v+picture", "t2v-a14b", "i2v-a14b"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, ...]]:
    """(variant, our models' folder, diffusers' latents and frames in float32, the picture)"""
    variant, _, pictured = request.param.partition("+")
    root = tmp_path_factory.mktemp(variant)
    folder, made = folder_of(variant, root, base=32)
    image = picture(root, side(variant)) if pictured or variant.startswith("i2v") else None
    latents = theirs(variant, folder, made, image)
    vae = made["vae"]
    mean, std = (
        torch.tensor(v)[:, None, None, None] for v in (vae.config.latents_mean, vae.config.latents_std)
    )
    with torch.no_grad():
        frames = vae.decode(latents * std + mean).sample
    yield variant, folder, latents, frames, image


def side(variant: str) -> int:
    return 64 if "ti2v" in variant else 32


@torch.no_grad()
def theirs(variant: str, folder: Path, made: dict[str, Any], image: Path | None) -> torch.Tensor:
    """What diffusers' pipeline makes of noise from seed 5."""
    networks = wan.load(folder)
    parts: dict[str, Any] = dict(
        tokenizer=None, text_encoder=None, vae=made["vae"], transformer=made["transformer"],
        transformer_2=made.get("transformer_2"), boundary_ratio=networks.config.boundary,  # type: ignore[attr-defined]
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        expand_timesteps=variant == "ti2v",
    )  # fmt: skip
    asked: dict[str, Any] = dict(
        prompt_embeds=networks.text(networks.tokenizer(["a dog in the snow"])),
        negative_prompt_embeds=networks.text(networks.tokenizer(["red"])), height=side(variant), width=side(variant),
        num_frames=9, num_inference_steps=4, guidance_scale=4.0, output_type="latent", latents=torch.randn(
            (1, networks.config.vae.z, 3, *(2 * [side(variant) // networks.config.vae.stride])),
            generator=torch.Generator().manual_seed(5),
        ),
    )  # fmt: skip
    if "a14b" in variant:
        asked["guidance_scale_2"] = 4.0 * networks.config.sampling.late_guidance
    if image is None:
        pipe = diffusers.WanPipeline(**parts)
    else:
        from transformers import CLIPImageProcessor

        square = {"height": 28, "width": 28}
        processor = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=square)
        pipe = diffusers.WanImageToVideoPipeline(
            image_encoder=made.get("image_encoder"), image_processor=processor, **parts
        )
        asked["image"] = Image.open(image)
    pipe.set_progress_bar_config(disable=True)
    latents: torch.Tensor = pipe(**asked).frames
    return latents


def ours(models: Any, image: Path | None, variant: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What our engine makes of the same noise: latents and frames."""
    size = (side(variant), side(variant))
    tokens, negative = models.tokenizer(["a dog in the snow"]), models.tokenizer(["red"])
    bound = footage.animated(models, image, size, 2)
    take = film.Take.of(
        models.config, predictor(bound, tokens, negative, 4.0), torch.Generator().manual_seed(5), 4
    )
    if image is not None and not footage.animates(models):
        events = film.image_to_video(take, footage.encode_picture(image, models, size), 2)
    else:
        cells = side(variant) // models.config.vae.stride
        events = film.text_to_video(take, (1, models.config.vae.z, cells, cells), 2)
    (chunk,) = [event for event in events if isinstance(event, film.Chunk)]
    assert chunk.lead is not None
    latents, memory, frames = torch.cat([chunk.lead, chunk.latents], 2), None, []
    for latent in latents.split(1, 2):
        decoded, memory = footage.decode(latent, memory, models)
        frames.append(decoded)
    return latents, torch.cat(frames, 2).clamp(-1, 1)


def test_whole_pipeline_equals_diffusers_in_float32(
    pair: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, folder, latents, frames, image = pair
    monkeypatch.setattr("longtake.model.device.autocast_dtype", lambda device: None)
    made, shown = ours(wan.load(folder), image, variant)
    assert apart(made, latents) < CLOSE
    assert apart(shown, frames) < CLOSE


def test_whole_pipeline_is_near_diffusers_in_bfloat16(
    pair: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, folder, latents, frames, image = pair
    monkeypatch.setattr("longtake.model.device.autocast_dtype", lambda device: torch.bfloat16)
    models = wan.load(folder)
    (
        models.dit.to(torch.bfloat16),
        models.text.to(torch.bfloat16),
    )  # as published; the autoencoder is in float32
    made, shown = ours(models, image, variant)
    assert strayed(made, latents) < HALF
    assert strayed(shown, frames) < HALF
