"""The command line as a user meets it: one line for an error, the exit codes of the contract, no torch for help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import longtake
from longtake.adapt.lora_file import write_lora
from longtake.video import Writer

COMMANDS = ("generate", "extend", "blend", "edit", "loop", "verify", "models", "world", "train")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "longtake", *words], capture_output=True, text=True)


def test_help_lists_the_commands_and_loads_no_torch() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in COMMANDS)
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "longtake", "--help"], capture_output=True, text=True
    )
    assert " torch" not in loaded.stderr and "pydantic" not in loaded.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generate", ""), "prompt is empty"),
        (("generate", "a dog", "--size", "12x12"), "size"),
        (("generate", "a dog", "--seconds", "nan"), "0.25 to 60"),
        (("generate", "a dog", "--secnods", "4"), "--seconds"),
        (("generate", "a dog", "--model", "none.safetensors"), "none.safetensors"),
        (("generate", "a dog", "-o", "no-such-folder/film.mp4"), "mkdir -p"),
        (("verify", "no-such-file.mp4"), "no file"),
        (("edit", "no-such-file.mp4", "a dog", "--strength", "2"), "strength"),
        (("nonsense",), "nonsense"),
        (("generate", "a dog", "-o", f"{'x' * 300}.mp4"), "too long"),
        (("storyboard", "a dog", "-o", f"{'长' * 90}.json"), "too long"),
        (
            ("storyboard", "a dog", "-o", "."),
            ". is a folder; give the name of a file, for example board.json",
        ),
        (("generate", "a dog", "--image", "/dev/zero"), "not a regular file"),
        (("generate", "a dog", "--image", "none.png"), "there is no file none.png"),
        (("blend", "none.mp4", "none.mp4"), "there is no file none.mp4"),
        (("world", "sample", "--vocabulary", "poket"), "did you mean pocket"),
    ],
)
def test_errors_are_one_line_and_exit_2(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "longtake", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generate", "a dog", "-o", "file/film.mp4"), "file is a file, not a folder"),
        (("storyboard", "a dog", "-o", "file/board.json"), "file is a file, not a folder"),
        (("serve", "--data", "file"), "cannot use"),
    ],
)
def test_a_file_in_the_place_of_a_folder(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("words")
    done = subprocess.run(
        [sys.executable, "-m", "longtake", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and (tmp_path / "file").read_text() == "words"


def test_world_sample(tmp_path: Path) -> None:
    from PIL import Image

    sheet = tmp_path / "sheet.png"
    done = run("world", "sample", "--n", "2", "--sheet", str(sheet), "--size", "64x48")
    assert done.returncode == 0, done.stderr
    with Image.open(sheet) as image:
        assert image.width == 2 * (4 * 64 + 8)


@pytest.mark.parametrize("task", ["extend", "blend", "edit", "loop"])
def test_every_task_takes_adapters_cache_and_precision(task: str, weights: Path, tmp_path: Path) -> None:
    clip, lora, made = tmp_path / "clip.mp4", tmp_path / "style.safetensors", tmp_path / "made.mp4"
    writer = Writer(clip, 320, 192, 12, {})
    for i in range(8):
        writer.write(np.full((192, 320, 3), 40 + 10 * i, np.uint8))
    writer.finish()
    width = 128
    write_lora(lora, {"blocks.0.attn1.to_q": (torch.randn(2, width), torch.randn(width, 2))}, alpha=2.0)
    given = {
        "extend": [clip, "a dog", "--seconds", "1"],
        "blend": [clip, clip, "--prompt", "a dog"],
        "edit": [clip, "a dog"],
        "loop": [clip],
    }[task]
    how = ["--lora", lora, "--cache", "0.05", "--precision", "bf16", "--negative", "a cat"]
    where = ["--model", weights, "--steps", "2", "--size", "320x256", "--fps", "12", "-o", made]
    done = run(task, *map(str, [*given, *how, *where]))
    assert done.returncode == 0, done.stderr
    record = longtake.verify(made).record
    assert record is not None and record["request"]["lora"] == ["style.safetensors"]
    assert record["request"]["cache"] == 0.05 and record["request"]["negative"] == "a cat"
    refused = run(task, *map(str, given), "--lora", "none.safetensors", *map(str, where))
    assert refused.returncode == 2 and "none.safetensors" in refused.stderr
