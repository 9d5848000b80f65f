"""The command line as a user meets it: one line for an error, the exit codes of the contract, no torch for help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


def test_world_sample(tmp_path: Path) -> None:
    from PIL import Image

    sheet = tmp_path / "sheet.png"
    done = run("world", "sample", "--n", "2", "--sheet", str(sheet), "--size", "64x48")
    assert done.returncode == 0, done.stderr
    with Image.open(sheet) as image:
        assert image.width == 2 * (4 * 64 + 8)
