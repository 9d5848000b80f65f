"""`longtake train data|text|vae|encode|dit|...`: the plans of this package as commands.

Thin, and torch is imported on use.
Every command goes on where an earlier sitting stopped, because its folder holds the state.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from longtake.errors import RequestError
from longtake.flags import takes

if TYPE_CHECKING:
    from longtake.train.loop import Budget, Outcome

app = typer.Typer(
    no_args_is_help=True, help="Train a model: render data, then train text, VAE and transformer."
)

Out = Annotated[Path, typer.Option(help="Folder of the run: checkpoint, log and results.")]
Preset = Annotated[str, typer.Option(help="Model size: xs, pocket, s or m.")]
Vocabulary = Annotated[str, typer.Option(help="Which words are in play: pocket, probes or full.")]
Minutes = Annotated[float | None, typer.Option(help="Wall-clock budget of all sittings together.")]
Steps = Annotated[int | None, typer.Option(help="Budget in steps instead of minutes.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Threads = Annotated[int | None, typer.Option(help="Threads torch may use; all cores by default.")]
Sizes = Annotated[
    str | None, typer.Option(help="Sizes such as 320x192,256x256; all of the preset by default.")
]
Encoded = Annotated[Path, typer.Option(help="Folder of encoded clips.")]
Clips = Annotated[int, typer.Option(help="Clips in a batch; an image batch has four times as many.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what the run would cost.")]
Compile = Annotated[bool, typer.Option(help="Compile the networks: slower to start, then faster.")]


class Sitting(NamedTuple):
    """How long a run may take, and where it runs."""

    minutes: float | None
    steps: int | None
    where: dict[str, Any]

    @property
    def budget(self) -> Budget:
        from longtake.train.loop import Budget

        return Budget(self.minutes, self.steps)


def sitting(
    minutes: Minutes = None,
    steps: Steps = None,
    device: Device = "cpu",
    seed: Seed = 0,
    threads: Threads = None,
) -> Sitting:
    """Of every command that learns."""
    _threads(threads)
    return Sitting(minutes, steps, {"device": device, "seed": seed})


@app.command("data")
def data_command(
    out: Out,
    count: Annotated[int, typer.Option(help="Scenes to render, of each size.")] = 1000,
    kind: Annotated[str, typer.Option(help="groups (for the VAE) or films (for the transformer).")] = "films",
    size: Sizes = None,
    split: Annotated[str, typer.Option(help="train or held (pairs no training scene has).")] = "train",
    vocabulary: Vocabulary = "pocket",
    atlas: Annotated[
        Path | None, typer.Option(help="Atlas file; the cached or shipped one by default.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes, of one thread each; 0 renders in this one.")] = 2,
    every: Annotated[int, typer.Option(help="Of so many frames a film keeps one: 3 for a grader.")] = 1,
    twins: Annotated[
        bool, typer.Option("--twins", help="Every second scene is the one before it, one word changed.")
    ] = False,
    preset: Preset = "pocket",
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Render random scenes into shards, at output size (groups) or encoder size (films)."""
    from longtake.train.render import RenderPlan, render_films, render_groups
    from longtake.train.vae import preset as find_preset

    if kind not in ("groups", "films"):
        raise RequestError(
            f"unknown kind {kind!r}; choose groups (for the VAE) or films (for the transformer)"
        )
    for pair in parse_sizes(size) or find_preset(preset).sizes:
        plan = RenderPlan(
            out, pair, count, split=split, vocabulary=vocabulary, model=preset, atlas=atlas, seed=seed,
            workers=workers, device=device, every=every, twins=twins,
        )  # fmt: skip
        (render_groups if kind == "groups" else render_films)(plan)


@app.command("footage")
def footage_command(
    folder: Annotated[Path, typer.Argument(help="Folder of your films.", show_default=False)],
    out: Out,
    ledger: Annotated[Path, typer.Option(help="Signed ledger that longtake curate wrote.")],
    size: Annotated[str, typer.Option(help="Size of the pieces.")] = "320x192",
) -> None:
    """Cut your own films into pieces for `train vae`; refuses what the ledger does not admit."""
    from longtake.train.footage import import_footage

    for pair in parse_sizes(size) or ():
        for path in import_footage(folder, ledger, out, pair):
            print(path)


@app.command("encode")
def encode_command(
    films: Annotated[Path, typer.Option(help="Folder of rendered films.")],
    vae: Annotated[Path, typer.Option(help="Trained VAE.")],
    out: Annotated[Path, typer.Option(help="Folder for the encoded clips.")],
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Encode rendered films with the frozen VAE: what the transformer learns from."""
    from longtake.train.render import encode_films

    _threads(threads)
    encode_films(films, out, vae, device)


@app.command("text")
@takes(sitting)
def text_command(
    how: Sitting,
    out: Out,
    preset: Preset = "pocket",
    vocabulary: Vocabulary = "pocket",
) -> None:
    """Pretrain the text encoder on captions alone."""
    from longtake.train.text import TextPlan, train_text

    plan = TextPlan(out=out, preset=preset, vocabulary=vocabulary, **how.where)
    _finish(train_text(plan, how.budget))


@app.command("vae")
@takes(sitting)
def vae_command(
    how: Sitting,
    data: Annotated[Path, typer.Option(help="Folder of rendered groups.")],
    out: Out,
    preset: Preset = "pocket",
    size: Sizes = None,
    batch: Annotated[int, typer.Option(help="Pieces a step.")] = 16,
    crop: Annotated[
        int, typer.Option(help="Side of the training crops in pixels; 0 for whole frames.")
    ] = 160,
    compile: Compile = True,
) -> None:
    """Train the autoencoder on rendered groups."""
    from longtake.train.vae import VaePlan, train_vae

    plan = VaePlan(
        data=data, out=out, preset=preset, sizes=parse_sizes(size), batch=batch, crop=crop, compile=compile,
        **how.where,
    )  # fmt: skip
    _finish(train_vae(plan, how.budget))


@app.command("decoder")
@takes(sitting)
def decoder_command(
    how: Sitting,
    data: Annotated[Path, typer.Option(help="Folder of rendered groups.")],
    out: Out,
    model: Annotated[str, typer.Option(help="pocket, or the path of a weights file.")] = "pocket",
    size: Sizes = None,
    batch: Annotated[int, typer.Option(help="Pieces a step.")] = 16,
    crop: Annotated[
        int, typer.Option(help="Side of the training crops in pixels; 0 for whole frames.")
    ] = 128,
    compile: Compile = True,
) -> None:
    """Go on training the decoder of a finished model; its latents, and all that was trained on them, stay."""
    from longtake.model.checkpoint import PACKAGED
    from longtake.train.decoder import DecoderPlan, train_decoder

    plan = DecoderPlan(
        data=data, out=out, model=PACKAGED if model == "pocket" else Path(model), sizes=parse_sizes(size), batch=batch,
        crop=crop, **how.where, compile=compile,
    )  # fmt: skip
    _finish(train_decoder(plan, how.budget))


@app.command("dit")
@takes(sitting)
def dit_command(
    how: Sitting,
    data: Annotated[Path | None, typer.Option(help="Folder of encoded clips.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run: checkpoint, log, sheets and model.")
    ] = None,
    vae: Annotated[Path | None, typer.Option(help="The VAE the clips were encoded with.")] = None,
    text: Annotated[Path | None, typer.Option(help="Pretrained text encoder.")] = None,
    init: Annotated[Path | None, typer.Option(help="A model to start from.")] = None,
    preset: Preset = "pocket",
    size: Sizes = None,
    clips: Clips = 32,
    compile: Compile = True,
    dry_run: DryRun = False,
) -> None:
    """Train the transformer and the text encoder together on encoded clips."""
    if dry_run:
        from longtake.model.presets import dry_run as describe

        for name, value in describe(preset, batch=clips).items():
            typer.echo(f"{name:24} {value:.4g}" if value >= 1e6 else f"{name:24} {value:g}")
        return
    if data is None or out is None or vae is None or (text or init) is None:
        raise RequestError(
            "give --data, --out, --vae and --text (or --init), or ask only for the cost with --dry-run"
        )
    from longtake.train.data import Mixture
    from longtake.train.dit import DitPlan, train_dit

    text = text or init
    assert text is not None
    plan = DitPlan(
        data=data, out=out, vae=vae, text=text, init=init, preset=preset, sizes=parse_sizes(size),
        **how.where, mixture=Mixture(clips=clips, images=4 * clips), compile=compile,
    )  # fmt: skip
    _finish(train_dit(plan, how.budget))


@app.command("lora")
@takes(sitting)
def lora_command(
    how: Sitting,
    data: Encoded,
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, log and lora.safetensors.")],
    init: Annotated[Path, typer.Option(help="The model the adapter is for.")],
    rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 8,
    alpha: Annotated[float, typer.Option(help="Strength at scale 1 is alpha / rank.")] = 8.0,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    preset: Preset = "pocket",
    size: Sizes = None,
    clips: Clips = 8,
) -> None:
    """Fine-tune a model by a small adapter on encoded clips; `longtake generate --lora` uses it."""
    from longtake.train.data import Mixture
    from longtake.train.dit import DitPlan
    from longtake.train.lora import LoraConfig, train_lora

    plan = DitPlan(
        data=data, out=out, vae=init, text=init, init=init, preset=preset, sizes=parse_sizes(size),
        **how.where, mixture=Mixture(clips=clips, images=4 * clips), compile=False,
    )  # fmt: skip
    _finish(train_lora(plan, LoraConfig(rank, alpha, rate), how.budget))


@app.command("distill")
@takes(sitting)
def distill_command(
    how: Sitting,
    data: Encoded,
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, log, adapter and model.")],
    init: Annotated[Path, typer.Option(help="The model that shall take fewer steps.")],
    student_steps: Annotated[int, typer.Option(help="Steps it shall take, without guidance.")] = 4,
    within: Annotated[int, typer.Option(help="Steps of the model, with guidance, in one of those.")] = 2,
    guidance: Annotated[float, typer.Option(help="Guidance that shall be in it.")] = 3.0,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 64,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    preset: Preset = "pocket",
    size: Sizes = None,
    clips: Clips = 16,
    compile: Compile = True,
) -> None:
    """Teach a model to make in few steps without guidance what takes it twice as many with it."""
    from longtake.train.distill import DistillPlan, mixture_of, train_distill
    from longtake.train.lora import LoraConfig

    plan = DistillPlan(
        data=data, out=out, vae=init, text=init, init=init, preset=preset, sizes=parse_sizes(size),
        **how.where, mixture=mixture_of(clips), compile=compile, student_steps=student_steps,
        within=within, guidance=guidance, lora=LoraConfig(rank, rank, rate),
    )  # fmt: skip
    _finish(train_distill(plan, how.budget))


@app.command("grader")
@takes(sitting)
def grader_command(
    how: Sitting,
    data: Annotated[Path, typer.Option(help="Folder of rendered films.")],
    out: Out,
    vocabulary: Vocabulary = "pocket",
    atlas: Annotated[
        Path | None, typer.Option(help="Atlas file; the cached or shipped one by default.")
    ] = None,
    size: Sizes = None,
    batch: Annotated[int, typer.Option(help="Clips a step.")] = 4,
) -> None:
    """Train the grader that `longtake eval pocket` reads pictures with."""
    from longtake.train.grader import GraderPlan, train_grader

    plan = GraderPlan(
        data=data, out=out, sizes=parse_sizes(size), vocabulary=vocabulary, atlas=atlas, batch=batch,
        **how.where,
    )  # fmt: skip
    _finish(train_grader(plan, how.budget))


@app.command("pocket")
def pocket_command(
    out: Out,
    minutes: Annotated[
        float, typer.Option(help="Wall-clock budget of the whole run, all sittings together.")
    ],
    preset: Preset = "pocket",
    vocabulary: Vocabulary = "pocket",
    size: Sizes = None,
    atlas: Annotated[
        Path | None, typer.Option(help="Atlas file; the cached or shipped one by default.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Clips in a batch of the transformer.")] = 16,
    workers: Annotated[int, typer.Option(help="Processes that render, of one thread each.")] = 2,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live", help="Render scenes while training, not before; by default on a GPU."
        ),
    ] = None,
    device: Device = "cpu",
    seed: Seed = 0,
    threads: Threads = None,
    compile: Compile = True,
) -> None:
    """Everything in one run: render, train autoencoder, text, transformer and grader, write the model."""
    from longtake.train.pocket import Interrupted, PocketPlan, train_pocket

    _threads(threads)
    plan = PocketPlan(
        out, minutes, preset=preset, vocabulary=vocabulary, sizes=parse_sizes(size), atlas=atlas, batch=batch,
        workers=workers, device=device, seed=seed, compile=compile, live=live,
    )  # fmt: skip
    try:
        typer.echo(str(train_pocket(plan)))
    except Interrupted as part:
        typer.echo(f"stopped and saved in {part}; the same command goes on", err=True)
        raise typer.Exit(130) from None


@app.command("upscale")
@takes(sitting)
def upscale_command(
    how: Sitting,
    out: Out,
    atlas: Annotated[Path | None, typer.Option(help="Atlas file; large tiles teach most.")] = None,
    scenes: Annotated[int, typer.Option(help="Scenes to render.")] = 150,
) -> None:
    """Train the upscaler that brings native frames to the asked size."""
    from longtake.train.upscale import UpscalePlan, train_upscale

    plan = UpscalePlan(out=out, atlas=atlas, scenes=scenes, **how.where)
    _finish(train_upscale(plan, how.budget))


def parse_sizes(text: str | None) -> tuple[tuple[int, int], ...] | None:
    """'320x192,256x256' -> ((320, 192), (256, 256)); None stays None. Raises RequestError."""
    if text is None:
        return None
    found = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in text.split(",")]
    if not all(found):
        raise RequestError(
            f"cannot read the sizes {text!r}; write them as WIDTHxHEIGHT, for example 320x192,256x256"
        )
    return tuple((int(match[1]), int(match[2])) for match in found if match)


def _threads(count: int | None) -> None:
    if count is not None:
        import torch

        torch.set_num_threads(count)


def _finish(outcome: Outcome) -> None:
    """Say how it ended; an interrupted run exits with 130, and the same command goes on with it."""
    if outcome.interrupted:
        typer.echo(f"stopped and saved at step {outcome.progress.step}; the same command goes on", err=True)
        raise typer.Exit(130)
    typer.echo(
        f"finished after {outcome.progress.step} steps and {outcome.progress.seconds / 60:.1f} minutes"
    )
