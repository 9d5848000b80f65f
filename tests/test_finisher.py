"""Size, frame rate and the stream between them."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.finish import finisher, interpolate, upscale
from longtake.finish.finisher import Finisher, is_cut
from longtake.finish.interpolate import between, warp
from longtake.finish.size import enlarge, enlarger, fit, to_bytes
from longtake.train.quality import gmsd, psnr, squared_error, ssim
from longtake.world.atlas import SHIPPED, Atlas
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, sample_scene
from longtake.world.stage import Stage


def disc(x: float, y: float = 32.0, size: tuple[int, int] = (64, 96)) -> Tensor:
    """A bright disc on a sloping ground, [3 h w]."""
    rows, columns = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    inside = torch.sigmoid(2 * (12 - ((rows - y) ** 2 + (columns - x) ** 2).sqrt()))
    ground = (columns / size[1] - 0.5)[None].repeat(3, 1, 1) * 0.6
    return ground * (1 - inside) + inside * torch.tensor([0.8, -0.2, -0.7])[:, None, None]


def film(count: int, step: float = 4.0) -> Tensor:
    """A disc that crosses the picture, 1 3 t h w."""
    return torch.stack([disc(20 + step * i) for i in range(count)], 1)[None]


def run(parts: list[Tensor], rate: int, size: tuple[int, int] = (96, 64)) -> list[np.ndarray]:
    stream = Finisher(size, rate, 12)
    frames = [frame for part in parts for frame in stream.push(part)]
    return frames + stream.flush()


@pytest.mark.parametrize(("rate", "wanted"), [(12, 8), (24, 16), (30, 20)])
def test_length_is_exact_however_the_frames_come(rate: int, wanted: int) -> None:
    whole = film(8)
    once = run([whole], rate)
    pieces = run(list(whole.split(3, dim=2)), rate)
    assert len(once) == len(pieces) == wanted
    assert all(np.array_equal(a, b) for a, b in zip(once, pieces, strict=True))


def test_native_moments_are_the_native_frames() -> None:
    whole = film(6)
    native = to_bytes(whole[0].transpose(0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(run([whole], 24)[::2], native, strict=True))
    thirty = run([whole], 30)
    assert np.array_equal(thirty[5], native[2])  # 5/30 s = 2/12 s
    assert not np.array_equal(thirty[1], native[0])


def test_between_follows_the_motion_instead_of_blending() -> None:
    first, truth, last = disc(30), disc(34), disc(38)
    made = between(first, last, torch.tensor([0.5]))
    blend = (first + last) / 2
    gain = psnr(squared_error(made, truth[None])) - psnr(squared_error(blend[None], truth[None]))
    assert gain > 5.0


def test_nothing_of_one_shot_shows_in_another() -> None:
    a, b = disc(20)[None, :, None], -disc(70, 20)[None, :, None]
    stream = Finisher((96, 64), 24, 12)
    frames = [*stream.push(a), *stream.push(b, new_shot=True), *stream.flush()]
    of_a, of_b = (to_bytes(x[:, :, 0])[0] for x in (a, b))
    for frame, wanted in zip(frames, (of_a, of_a, of_b, of_b), strict=True):
        assert np.array_equal(frame, wanted)


def test_a_cut_nobody_told_is_seen() -> None:
    assert is_cut(torch.full((3, 64, 96), -0.8), torch.full((3, 64, 96), 0.5))
    assert not is_cut(disc(20), disc(40))


def test_memory_is_one_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Finisher((96, 64), 24, 12)
    for _ in range(3):
        stream.push(film(5))
    held = [value for value in vars(stream).values() if isinstance(value, Tensor)]
    assert [value.shape for value in held] == [(3, 64, 96)]


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (1024, 1024), (1920, 1080), (96, 64), (50, 40)])
def test_any_size_is_cropped_and_never_stretched(size: tuple[int, int]) -> None:
    width, height = size
    made = enlarge(disc(48)[None], width, height)
    assert made.shape[-2:] == (height, width)
    grey = made[0, 0] - made[0, 2]  # the disc alone is orange
    rows, columns = torch.nonzero(grey > 0.75, as_tuple=True)
    tall, wide = (int(v.max() - v.min()) + 1 for v in (rows, columns))
    assert abs(tall - wide) <= max(2, 0.02 * tall)
    scale = max(width / 96, height / 64)
    assert tall == pytest.approx(24 * scale, rel=0.1)
    assert abs(float(columns.float().mean()) - width / 2) <= 1 + 0.01 * width


def test_frames_that_the_decoder_has_enlarged_are_not_sharpened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscale, "upscale", lambda *_: pytest.fail("was asked to enlarge"))
    assert enlarger(2)(disc(48)[None], 96, 64).shape == (1, 3, 64, 96) and enlarger(1) is enlarge


def test_upscaling_beats_bicubic_on_the_stage() -> None:
    """Held-out scenes, rendered at the size and at a quarter of it."""
    atlas = Atlas.load(SHIPPED)
    large, rng = Stage(atlas, 384, 640, chunk=1), random.Random(11)
    gains = []
    for _ in range(4):
        scene = replace(sample_scene(rng, PRESETS["pocket"], held_out=True), frames=2)
        truth = large.render([choreograph(scene, atlas, 5 / 3)])[0, :, :1].transpose(0, 1) * 2 - 1
        small = F.avg_pool2d(truth, 4)
        plain, made = fit(small, 640, 384).clamp(-1, 1), upscale.upscale(small, 4)
        gains.append(psnr(squared_error(made, truth)) - psnr(squared_error(plain, truth)))
    assert float(torch.stack(gains).mean()) > 0.2


def test_sizes_below_native_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscale, "upscale", lambda *_: pytest.fail("was asked to enlarge"))
    assert enlarge(disc(48)[None], 48, 32).shape == (1, 3, 32, 48)


def test_warp_fetches_from_where_the_flow_points() -> None:
    picture = torch.randn(1, 3, 16, 24)
    flow = torch.zeros(1, 2, 16, 24)
    flow[:, 0] = 2.0
    assert torch.allclose(warp(picture, flow)[..., :-2], picture[..., 2:], atol=1e-4)


def test_measures_know_equal_from_worse() -> None:
    truth = disc(40)[None]
    near, far = truth + 0.004 * torch.randn_like(truth), F.avg_pool2d(truth, 9, 1, 4, count_include_pad=False)
    assert float(ssim(truth, truth)) == pytest.approx(1) and float(gmsd(truth, truth)) == pytest.approx(0)
    assert float(ssim(near, truth)) > float(ssim(far, truth))
    assert float(gmsd(near, truth)) < float(gmsd(far, truth))


def test_the_finisher_module_says_when_two_frames_are_two_shots() -> None:
    assert 0.1 < finisher.CUT < 1.0


def test_the_filters_of_the_motion_search_are_exact() -> None:
    flow, values = torch.randn(1, 2, 37, 53), torch.rand(5, 37, 53)
    patches = F.unfold(F.pad(flow, (1, 1, 1, 1), mode="replicate"), 3).view(1, 2, 9, 37, 53)
    assert (interpolate._median(flow) == patches.median(2).values).all()
    mean = F.avg_pool2d(values[:, None], 13, 1, 6, count_include_pad=False)[:, 0]
    torch.testing.assert_close(interpolate._box(interpolate._box(values, 13, 1), 13, 2), mean)
