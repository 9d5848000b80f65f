"""The autoencoder: shapes, groups that stand alone, streaming without a seam."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from longtake.model.presets import PRESETS
from longtake.model.vae import VAE

TINY = PRESETS["xs"].vae


def filled() -> VAE:
    """A tiny VAE whose every layer does something, with latent statistics."""
    z = TINY.z
    config = replace(TINY, mean=tuple(0.1 * i for i in range(z)), std=tuple(1 + 0.1 * i for i in range(z)))
    vae = VAE(config).eval()
    for parameter in vae.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return vae


@pytest.mark.parametrize("size", [(96, 160), (128, 128), (160, 96)])
@torch.no_grad()
def test_shapes(size: tuple[int, int]) -> None:
    vae = VAE(TINY)
    latents = vae.encode(torch.randn(2, 3, 8, *size))
    assert latents.shape == (2, TINY.z, 2, size[0] // 16, size[1] // 16)
    assert vae.decode(latents).shape == (2, 3, 8, 2 * size[0], 2 * size[1])


@torch.no_grad()
def test_a_finer_stride_and_shorter_groups() -> None:
    fine = VAE(
        replace(TINY, encoder_widths=(16, 24, 32), decoder_widths=(32, 16), stride=8, group=2, upscale=1)
    )
    latents = fine.encode(torch.randn(1, 3, 6, 32, 48))
    assert latents.shape == (1, TINY.z, 3, 4, 6)
    assert fine.decode(latents).shape == (1, 3, 6, 32, 48)


@torch.no_grad()
def test_streaming_equals_the_whole() -> None:
    vae = filled()
    latents = torch.randn(2, TINY.z, 5, 4, 6)
    whole, memory, parts = vae.decode(latents), None, []
    for latent in latents.split(1, dim=2):
        frames, memory = vae.stream(latent, memory)
        parts.append(frames)
    assert torch.equal(torch.cat(parts, 2), whole)


@torch.no_grad()
def test_the_decoder_remembers_one_latent_frame() -> None:
    vae = filled()
    latents = torch.randn(1, TINY.z, 4, 2, 2)
    changed = latents.clone()
    changed[:, :, 1] += 1
    same = (vae.decode(latents) == vae.decode(changed)).unflatten(2, (4, 4)).flatten(3).all(-1).all(1)
    assert same.tolist() == [[True, False, False, True]]


@torch.no_grad()
def test_groups_are_encoded_alone() -> None:
    vae = filled()
    frames = torch.randn(1, 3, 12, 32, 32)
    changed = frames.clone()
    changed[:, :, 4:8] += 0.5
    before, after = vae.encode(frames), vae.encode(changed)
    assert torch.equal(before[:, :, [0, 2]], after[:, :, [0, 2]])
    assert not torch.equal(before[:, :, 1], after[:, :, 1])
    assert torch.allclose(vae.encode(frames[:, :, 4:8]), before[:, :, 1:2], atol=1e-5)


@torch.no_grad()
def test_a_still_is_a_group_of_equal_frames() -> None:
    vae = filled()
    still = torch.randn(2, 3, 32, 32)
    latents = vae.encode_still(still)
    assert latents.shape == (2, TINY.z, 1, 2, 2)
    assert torch.equal(latents, vae.encode(torch.stack([still] * 4, 2)))


@torch.no_grad()
def test_latents_are_scaled_by_the_config() -> None:
    vae = filled()
    frames = torch.randn(1, 3, 4, 32, 32)
    mean, logvar = vae.encode_raw(frames)
    assert mean.shape == logvar.shape
    assert torch.allclose(vae.encode(frames) * vae.std + vae.mean, mean, atol=1e-5)
    assert "mean" not in vae.state_dict() and not any(k.startswith("std") for k in vae.state_dict())


def test_what_cannot_be_encoded_is_named() -> None:
    for shape in ((1, 3, 5, 32, 32), (1, 3, 4, 40, 32), (1, 4, 4, 32, 32)):
        with pytest.raises(ValueError, match="multiples of 16"):
            VAE(TINY).encode(torch.zeros(shape))


def test_the_pocket_vae_is_small_and_cheap() -> None:
    with torch.device("meta"):
        vae = VAE(PRESETS["pocket"].vae)
    count = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (vae.encoder, vae.decoder)]
    assert sum(count) <= 12, count  # with the transformer and the text encoder under 62 MB in bf16
