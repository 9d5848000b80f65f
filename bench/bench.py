"""Measure on this machine, in one run, what Longtake promises: `make bench`.

Stage clips/s, one forward pass of the transformer as time and as share of this machine's own matmul peak,
the same weights in diffusers, decoding, a whole film warm and cold, peak memory. Every timing is a median of
repeats after a warm-up; the two transformers take turns so that both see the same machine. It prints figures,
no verdict. Without packaged weights the networks are timed with random ones and the film is left out.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from longtake import pipeline
from longtake.adapt.fit import Options, fit
from longtake.errors import WeightsError
from longtake.model import checkpoint
from longtake.model.checkpoint import Models
from longtake.model.device import autocast_dtype
from longtake.model.dit import DiT
from longtake.model.presets import PRESETS, ModelConfig
from longtake.model.vae import VAE
from longtake.request import Request

PROMPT = "a golden puppy plays in the snow"
SECONDS = 4
SIZE = (320, 192)
SEED = 7
GUIDED = 2
"""A step asks twice, with the prompt and without."""
STAGE_SIDE, STAGE_FRAMES, STAGE_WORKERS = 128, 48, 2


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    note: str = ""


def median_seconds(work: Callable[[], object], repeats: int = 9, warm_up: int = 2) -> float:
    """Median wall time of `work()` in seconds."""
    return interleaved_seconds([work], repeats, warm_up)[0]


def interleaved_seconds(works: list[Callable[[], object]], repeats: int = 9, warm_up: int = 2) -> list[float]:
    """Median wall time in seconds of each of `works`, run in turns so that a busy moment hits all of them."""
    taken: list[list[float]] = [[] for _ in works]
    for turn in range(warm_up + repeats):
        for times, work in zip(taken, works, strict=True):
            start = time.perf_counter()
            work()
            if turn >= warm_up:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken]


# ---- the stage ----


def render_for(seconds: float, seed: int, start: Barrier) -> float:
    """Clips per second one process with one thread samples, choreographs and renders."""
    from longtake.world.atlas import Atlas
    from longtake.world.choreography import choreograph
    from longtake.world.sampler import PRESETS, sample_scene
    from longtake.world.stage import Stage

    torch.set_num_threads(1)
    rng, atlas = random.Random(seed), Atlas.load()
    vocabulary = PRESETS["pocket"]
    stage = Stage(atlas, STAGE_SIDE, STAGE_SIDE)

    def clip() -> Tensor:
        scene = sample_scene(rng, vocabulary)
        return stage.render([choreograph(scene, atlas, aspect=1.0)])

    clip()
    start.wait()
    begin, made = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        clip()
        made += 1
    return made / (time.perf_counter() - begin)


def _render_and_send(seconds: float, seed: int, start: Barrier, results: Queue[float]) -> None:
    results.put(render_for(seconds, seed, start))


def stage_rows(seconds: float) -> Iterator[Row]:
    """Rate of rendering with worker processes, as the trainer renders."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(STAGE_WORKERS), context.Queue()
    workers = [
        context.Process(target=_render_and_send, args=(seconds, seed, start, results))
        for seed in range(STAGE_WORKERS)
    ]
    for worker in workers:
        worker.start()
    rate = sum(results.get(timeout=120 + seconds) for _ in workers)
    for worker in workers:
        worker.join()
    yield Row(
        "stage",
        f"{rate:.1f} clips/s",
        f"{STAGE_FRAMES} frames at {STAGE_SIDE}x{STAGE_SIDE}, {STAGE_WORKERS} processes",
    )


# ---- the transformer ----


def arithmetic() -> torch.autocast:
    """The precision in which the pipeline runs the networks here."""
    dtype = autocast_dtype(torch.device("cpu"))
    return torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def matmul_peak(dtype: torch.dtype) -> float:
    """The best rate of a square matrix product on this machine, FLOP/s."""
    best = 0.0
    for side in (1024, 2048, 4096):
        a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
        seconds = median_seconds(lambda a=a, b=b: a @ b, repeats=5)
        best = max(best, 2 * side**3 / seconds)
    return best


def as_wan(dit: DiT) -> DiT:
    """The same weights in Wan's layout proper: without what tells frames and cells their places."""
    plain = DiT(replace(dit.config, places_frames=False, places_cells=False)).eval()
    plain.load_state_dict(
        {key: value for key, value in dit.state_dict().items() if key in plain.state_dict()}
    )
    for name, parameter in plain.named_parameters():
        parameter.data = parameter.data.to(dit.get_parameter(name).dtype)
    return plain


def in_diffusers(dit: DiT, dtype: torch.dtype) -> nn.Module:
    """The same weights in diffusers' class, loaded strictly, in `dtype` but for what diffusers keeps in float32."""
    from diffusers import WanTransformer3DModel

    config = dit.config
    other = WanTransformer3DModel(
        patch_size=config.patch,
        num_attention_heads=config.heads,
        attention_head_dim=config.head_dim,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        text_dim=config.text_dim,
        freq_dim=config.freq_dim,
        ffn_dim=config.ffn,
        num_layers=config.layers,
        eps=config.eps,
    )
    other.load_state_dict(dit.state_dict(), strict=True)
    for name, parameter in other.named_parameters():
        if not set(name.split(".")) & set(WanTransformer3DModel._keep_in_fp32_modules):
            parameter.data = parameter.data.to(dtype)
    return other.eval()


def transformer_rows(dit: DiT, config: ModelConfig, peak: float) -> Iterator[Row]:
    """One guided forward pass of a whole window at native size, and the same weights in diffusers."""
    dit = as_wan(dit)
    rows, columns = config.grid(*SIZE)
    x = torch.randn(GUIDED, config.dit.in_channels, config.window, rows, columns)
    text = torch.randn(GUIDED, config.text.length, config.dit.text_dim)
    moment = torch.full((GUIDED,), 500)
    every_frame = torch.full((GUIDED, config.window), 500.0)
    tokens = x[0, 0].numel() // math.prod(config.dit.patch)
    dtype = autocast_dtype(torch.device("cpu")) or torch.float32
    other, their_x, their_text = in_diffusers(dit, dtype), x.to(dtype), text.to(dtype)

    def ours() -> Tensor:
        with arithmetic():
            return dit(x, every_frame, text)

    def theirs() -> Tensor:
        return other(their_x, moment, their_text, return_dict=False)[0]

    with FlopCounterMode(display=False) as counter:
        ours()
    flops = counter.get_total_flops()
    seconds, their_seconds = interleaved_seconds([ours, theirs], repeats=15)
    apart = (ours().float() - theirs().float()).norm() / theirs().float().norm()
    millions = sum(p.numel() for p in dit.parameters()) / 1e6
    yield Row(
        "transformer forward",
        f"{seconds * 1e3:.0f} ms",
        f"{millions:.1f} M parameters, {GUIDED}x{tokens} tokens",
    )
    yield Row("  share of the peak", f"{flops / seconds / peak:.0%}", f"{flops / 1e9:.1f} GFLOP a pass")
    yield Row(
        "  the same in diffusers",
        f"{their_seconds * 1e3:.0f} ms",
        f"outputs differ by {apart:.0e} in this precision",
    )
    yield Row(
        "  ratio", f"{their_seconds / seconds:.2f} x", "diffusers' time over ours; above 1 ours is faster"
    )


# ---- decoding ----


def decode_rows(vae: VAE, config: ModelConfig) -> Iterator[Row]:
    """Rate of the streaming decoder at native size."""
    rows, columns = config.grid(*SIZE)
    latents = torch.randn(1, config.vae.z, config.window, rows, columns)

    def stream() -> None:
        memory = None
        with arithmetic():
            for latent in latents.split(1, dim=2):
                _, memory = vae.stream(latent, memory)

    seconds = median_seconds(stream, repeats=5, warm_up=1)
    rate = config.window * config.vae.group / seconds
    yield Row("decoding", f"{rate:.0f} frames/s", f"streamed, {SIZE[0]}x{SIZE[1]}")


# ---- a whole film ----


def warm_rows(models: Models, folder: Path) -> Iterator[Row]:
    """A film from the loaded weights: every step, decoding, marks and writing."""
    size = f"{SIZE[0]}x{SIZE[1]}"
    request = Request(prompt=PROMPT, seconds=SECONDS, size=size, fps=models.config.fps, seed=SEED)

    def film() -> None:
        with tempfile.TemporaryDirectory(
            dir=folder
        ) as work:  # a fresh one: finished shots would be taken from it
            for _ in pipeline.generate(request, folder / "warm.mp4", models, Path(work)):
                pass

    seconds = median_seconds(film, repeats=3, warm_up=1)
    yield Row(
        "film, weights loaded", f"{seconds:.2f} s", f"{SECONDS} s of {size}, marked, written, read back"
    )
    yield Row("  real-time factor", f"{seconds / SECONDS:.2f}", "seconds of work for a second of film")


def cold_rows(folder: Path, weights: Path | None) -> Iterator[Row]:
    """The same film by the command line, from nothing: start of Python, import, weights, film."""
    command = [sys.executable, "-m", "longtake", "generate", PROMPT, "-o", str(folder / "cold.mp4")]
    command += ["--seconds", str(SECONDS), "--size", f"{SIZE[0]}x{SIZE[1]}"]
    command += ["--fps", "12", "--seed", str(SEED), "--work", str(folder / "cold")]
    command += ["--model", str(weights)] if weights else []
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench: the command line failed: {' '.join(command)}")
    yield Row("film, cold start", f"{seconds:.2f} s", "longtake generate as a new process")
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB elsewhere
    yield Row("  peak memory", f"{usage.ru_maxrss * unit / 1e9:.2f} GB", "of that process, resident")


def help_row() -> Row:
    """How fast the command line answers."""
    command = [sys.executable, "-m", "longtake", "--help"]
    seconds = median_seconds(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True), 5, 1)
    return Row("longtake --help", f"{seconds:.2f} s", "as a new process")


# ---- all of it ----


def untrained(config: ModelConfig) -> tuple[DiT, VAE]:
    """The networks with random weights, for the time they take."""
    dit = DiT(config.dit).eval()
    nn.init.normal_(dit.proj_out.weight, std=0.02)  # it starts at zero, which would hide any difference
    return dit, VAE(config.vae).eval()


def rows(weights: Path | None, stage_seconds: float) -> Iterator[Row]:
    """Every measurement in turn; those that need weights are left out with a line that says so."""
    yield from stage_rows(stage_seconds)
    yield help_row()
    dtype = autocast_dtype(torch.device("cpu")) or torch.float32
    peak = matmul_peak(dtype)
    kind = str(dtype).removeprefix("torch.")
    yield Row(
        "matmul peak",
        f"{peak / 1e12:.2f} TFLOP/s",
        f"{kind}, the best of three sizes; the networks use it too",
    )
    try:
        models = fit(checkpoint.load(weights), Options())  # as the command line runs it
    except WeightsError:
        config = PRESETS["pocket"]
        dit, vae = untrained(config)
        yield from transformer_rows(dit, config, peak)
        yield from decode_rows(vae, config)
        yield Row(
            "film", "not measured", "no packaged weights: train some; the networks above had random ones"
        )
        return
    yield from transformer_rows(models.dit, models.config, peak)
    yield from decode_rows(models.vae, models.config)
    with tempfile.TemporaryDirectory(prefix="longtake-bench-") as folder:
        yield from warm_rows(models, Path(folder))
        yield from cold_rows(Path(folder), weights)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="another file of weights than the packaged one")
    parser.add_argument("--stage-seconds", type=float, default=10.0, help="how long to render (default 10)")
    options = parser.parse_args()

    console = Console(stderr=True)
    table = Table(
        "what", "figure", "note", title=f"Longtake on {os.cpu_count()} cores, torch {torch.__version__}"
    )
    table.columns[1].justify = "right"
    if (busy := os.getloadavg()[0]) > 0.5:
        table.caption = (
            f"other programs kept this machine busy (load {busy:.1f}): the figures are worse than its best"
        )
    with console.status("measuring") as status:
        for row in rows(options.weights, options.stage_seconds):
            status.update(f"measured: {row.what.strip()}")
            table.add_row(row.what, row.figure, row.note)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
