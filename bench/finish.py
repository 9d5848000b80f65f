"""Measure the finishing on held-out renders: enlarging against bicubic, moments between frames against blending,
and what a frame costs. One thread; times are of the processor, so that a busy machine matters less.

    python bench/finish.py [--folder DIR] [--atlas FILE] [--scenes N] [--sheet DIR]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from longtake.finish import upscale
from longtake.finish.finisher import Finisher
from longtake.finish.interpolate import between
from longtake.finish.size import to_bytes
from longtake.train import finishing, quality
from longtake.train.finishing import MOMENTS, Material, floats
from longtake.train.upscale import measure

SIZES = ((1280, 720), (1920, 1080), (720, 1280), (640, 384))


def enlarging(held: dict[str, Tensor]) -> None:
    """PSNR, SSIM and GMSD at four times the size."""
    values = measure(upscale.load(), held)
    print(f"\nenlarging 320x192 -> 1280x768, {len(held['target'])} held-out frames")
    print(f"{'':28}{'PSNR dB':>9}{'SSIM':>8}{'GMSD':>8}   (GMSD: less is better)")
    for kind in ("sharp", "decoded"):
        for name in ("bicubic", "network"):
            psnr, ssim, gmsd = (values[f"{kind}_{name}_{what}"] for what in ("psnr", "ssim", "gmsd"))
            print(f"{kind + ' frames, ' + name:28}{psnr:9.2f}{ssim:8.4f}{gmsd:8.4f}")


def interpolating(held: Tensor) -> None:
    """PSNR of made and of blended frames: of the pooled error, and the mean over clips."""
    print(f"\nmoments between two frames of a 12 fps film, {len(held)} held-out clips at 320x192")
    print(f"{'':28}{'pooled dB':>10}{'mean dB':>9}")
    for rate, moments in (("24 fps", (3,)), ("30 fps", (1, 2, 4, 5))):
        errors: dict[str, list[Tensor]] = {"repeated": [], "blended": [], "by motion": []}
        for clip in held:
            first, last = floats(clip[0]), floats(clip[-1])
            times = torch.tensor([MOMENTS[index] / MOMENTS[-1] for index in moments])
            share = times.view(-1, 1, 1, 1)
            truth = floats(clip[list(moments)])
            for name, made in (
                ("repeated", first.expand_as(truth)),
                ("blended", first * (1 - share) + last * share),
                ("by motion", between(first, last, times)),
            ):
                errors[name].append(quality.squared_error(made, truth))
        for name, found in errors.items():
            error = torch.cat(found)
            pooled, mean = quality.psnr(error.mean()), quality.psnr(error).mean()
            print(f"{rate + ', ' + name:28}{float(pooled):10.2f}{float(mean):9.2f}")


def speed(frames: Tensor) -> None:
    """Processor time a finished frame, 12 -> 24 fps, one thread."""
    print("\nprocessor time of one finished frame, 12 -> 24 fps, one thread")
    decoded = floats(frames[:, ::3]).flatten(0, 1).transpose(0, 1)[None, :, :13]  # 1 3 t h w
    for size in SIZES:
        finisher = Finisher(size, 24, 12)
        finisher.push(decoded[:, :, :1])
        start = time.process_time()
        count = len(finisher.push(decoded[:, :, 1:]))
        each = (time.process_time() - start) / count
        print(f"{size[0]}x{size[1]:<6} {1000 * each:7.1f} ms   1440 frames {1440 * each:6.0f} s of one core")


def sheets(pairs: dict[str, Tensor], clips: Tensor, folder: Path) -> None:
    """Contact sheets: bicubic, network, truth; and first, blended, by motion, truth."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for target, low in zip(pairs["target"][:4], pairs["low"][:4], strict=True):
        truth = floats(target)[None]
        row = []
        for small in floats(low):
            plain = F.interpolate(small[None], scale_factor=4, mode="bicubic", align_corners=False)
            row += [plain, upscale.upscale(small[None], 4)]
        rows.append(torch.cat([x[..., 200:560, 440:840] for x in (*row, truth)], 3))
    save(torch.cat(rows, 2), folder / "enlarging.png")
    rows = []
    wrong = [float((floats(c[0]) - floats(c[-1])).abs().mean()) for c in clips]
    for index in np.argsort(wrong)[::-1][1:11:2]:
        first, truth, last = floats(clips[int(index)][[0, 3, 6]])[:, None]
        made = between(first[0], last[0], torch.tensor([0.5]))
        rows.append(torch.cat([first, (first + last) / 2, made, truth], 3))
    save(torch.cat(rows, 2), folder / "interpolating.png")


def save(picture: Tensor, path: Path) -> None:
    Image.fromarray(to_bytes(picture)[0]).save(path)
    print(f"sheet {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the renders there")
    parser.add_argument("--atlas", type=Path, help="drawings; the shipped ones by default")
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--sheet", type=Path, help="write contact sheets there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        material = Material(options.scenes, "held", options.atlas)
        pairs = finishing.enlarging(material, folder)
        clips = finishing.interpolating(material, folder)["frames"]
        enlarging(pairs)
        interpolating(clips)
        speed(clips)
        if options.sheet:
            sheets(pairs, clips, options.sheet)


if __name__ == "__main__":
    main()
