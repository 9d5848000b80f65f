"""The comparison with diffusers runs, has every row, compares like with like, and prints what it measured."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import torch

from longtake.errors import RequestError
from longtake.evaluate import wan_bench
from longtake.evaluate.bench_commands import wan_command
from longtake.evaluate.wan_bench import Line, Shape, compare
from longtake.model.presets import DiTConfig

pytest.importorskip("diffusers")

MICRO = Shape(DiTConfig(256, 1, 2, 64, 16, 16, 32), 4, (2, 8, 8))
ROWS = {
    "cold start to first step": "s",
    "peak memory, step": "GB",
    "peak memory, step and decode": "GB",
    "a step alone": "s",
    "a step within a run": "s",
    "5 frames decoded": "s",
}


@pytest.fixture(autouse=True)
def micro(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(wan_bench.SHAPES, "micro", MICRO)


def busy(seconds: float) -> None:
    """Use the processor for so long."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_the_command_prints_every_row_and_the_ratio_of_its_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wan_command("micro", "fp32", "cpu")
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["micro,", "fp32,", "cpu", "ours", "diffusers"]
    found = {}
    for line in lines:
        match = re.fullmatch(r"(.{28}) +([\d.]+) +([\d.]+) (\w+) +([\d.]+)x", line)
        assert match, line
        what, ours, theirs, unit, ratio = match.groups()
        found[what.strip()] = unit
        ours, theirs, ratio = float(ours), float(theirs), float(ratio)
        assert ours > 0 and theirs > 0
        low, high = (ours - 5e-4) / (theirs + 5e-4), (ours + 5e-4) / max(theirs - 5e-4, 1e-9)
        assert low - 0.006 <= ratio <= high + 0.006, line
    assert found == ROWS


def test_both_sides_compute_the_same(tmp_path: Path) -> None:
    wan_bench._write(wan_bench._diffusers(), MICRO, torch.float32, tmp_path)
    cpu = torch.device("cpu")
    with torch.no_grad():
        ours, theirs = (
            wan_bench._networks(side, MICRO, torch.float32, cpu, tmp_path) for side in ("ours", "diffusers")
        )
        torch.testing.assert_close(ours.step(), theirs.step()[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.run(), theirs.run(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [(0.01, 0.04), (0.04, 0.01)])
def test_times_are_those_of_the_two_functions(ours: float, theirs: float) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # seconds of the processor: another program's work is not counted
    try:
        (line,) = wan_bench._lines(
            "work", lambda: busy(2 * ours), lambda: busy(2 * theirs), torch.device("cpu"), 3, of=2
        )
    finally:
        torch.set_num_threads(threads)
    assert line.ours == pytest.approx(ours, rel=0.3) and line.theirs == pytest.approx(theirs, rel=0.3)


def test_memory_and_cold_start_are_of_each_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured = {"ours": (1.0, 0.1, 0.2), "diffusers": (3.0, 0.4, 0.5)}

    class Pool:
        def __init__(self, processes: int) -> None: ...
        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None: ...
        def apply(self, function: object, arguments: tuple[str, ...]) -> tuple[float, float, float]:
            return measured[arguments[0]]

    class Context:
        def __init__(self) -> None:
            self.Pool = Pool

    monkeypatch.setattr("multiprocessing.get_context", lambda kind: Context())
    lines = list(wan_bench._cold(MICRO, torch.float32, tmp_path))
    assert [(line.ours, line.theirs) for line in lines] == [(1.0, 3.0), (0.1, 0.4), (0.2, 0.5)]


def test_a_line_shows_what_it_holds() -> None:
    assert str(Line("decoding", 0.5, 2.0, "s")).split() == ["decoding", "0.500", "2.000", "s", "0.25x"]


def test_an_unknown_shape_names_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"unknown shape 'tini'.*did you mean tiny"):
        next(compare("tini", torch.float32, torch.device("cpu")))
    with pytest.raises(RequestError, match="fp32 or bf16"):
        wan_command("tiny", "fp16", "cpu")
