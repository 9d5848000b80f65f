"""`longtake eval ...`: the evaluations of this package as commands. Thin, and torch is imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, help="Measure: the model's pictures, the marks, the server.")


@app.callback()
def _group() -> None:
    """Keeps `eval` a group of commands even when it has one."""


Out = Annotated[Path, typer.Option(help="Folder for report.json, the page and the clips.")]


@app.command("pocket")
def pocket_command(
    out: Out,
    clips: Annotated[int, typer.Option(help="Held-out scenes to ask for.")] = 60,
    model: Annotated[str, typer.Option(help="pocket, or the path of a weights file.")] = "pocket",
    grader: Annotated[
        Path | None, typer.Option(help="A grader's file; the shipped judge by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; the model's own by default.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance; the model's own by default.")] = None,
    probes: Annotated[
        int, typer.Option(help="Scenes of each special question; 0 leaves them out.", min=0)
    ] = 12,
    drift: Annotated[int, typer.Option(help="One-minute takes to measure drift on; 0 for none.")] = 3,
    takes: Annotated[int, typer.Option(help="Takes of each clip; the best is kept.", min=1)] = 1,
    bare: Annotated[
        bool, typer.Option("--bare", help="The network alone: one caption a picture, camera and all.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Chooses the scenes and the noise.")] = 0,
) -> None:
    """Ask the model for held-out scenes and let the grader read what it made."""
    from rich.console import Console
    from rich.progress import Progress

    from longtake.evaluate.clips import EvalPlan
    from longtake.evaluate.pocket import Result, evaluate
    from longtake.evaluate.report import write_report
    from longtake.judge.grader import JUDGE, load
    from longtake.judge.reading import Reader
    from longtake.pipeline import load_models, weights_id

    models = load_models(model)
    recipe = models.config.sampling
    plan = EvalPlan(
        clips,
        size=models.config.sizes[0],
        steps=steps or recipe.steps,
        guidance=recipe.guidance if guidance is None else guidance,
        probes=probes,
        drift=drift,
        takes=takes,
        bare=bare,
        seed=seed,
    )
    # the judge learned its actions from few clips: those the other grader reads
    reader = Reader(load(JUDGE), {"action": load()}) if grader is None else Reader(load(grader))
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("evaluating", total=1.0)
        for event in evaluate(models, reader, plan):
            if isinstance(event, Result):
                result = event
            else:
                bar.update(task, description=event[0], completed=event[1])
    result.about = {
        "weights": weights_id(models), "clips": clips, "probes": probes, "steps": plan.steps,
        "guidance": plan.guidance, "takes": takes, "bare": bare,
        "seed": seed, "size": "x".join(map(str, plan.size)), "vocabulary": plan.vocabulary,
    }  # fmt: skip
    page = write_report(result, out)
    for question, sets in (result.table | result.probes).items():
        shares = "  ".join(f"{name} {100 * share:3.0f} %" for name, (share, _) in sets.items())
        typer.echo(f"{question:20} {shares}  ({sets['generated'][1]} asked)")
    for measure, row in result.physics.items():
        shares = "  ".join(f"{name} {100 * ratio.near:3.0f} %" for name, ratio in row.items())
        typer.echo(f"{measure:20} {shares}  ({row['renders'].asked} asked)")
    typer.echo(f"autoencoder: {result.psnr['whole']} dB whole, {result.psnr['subject']} dB on subjects")
    typer.echo(str(page))


@app.command("marks")
def marks_command(
    out: Out,
    clips: Annotated[int, typer.Option(help="Clips in all; the first four are real.")] = 50,
    seconds: Annotated[float, typer.Option(help="Length of a clip.")] = 2.0,
    short: Annotated[int, typer.Option(help="Pixels of the shorter side.")] = 360,
    only: Annotated[
        list[str] | None, typer.Option(help="A row of the table, may be repeated; all by default.")
    ] = None,
    mark: Annotated[
        Literal["longtake", "rivagan"], typer.Option(help="Whose mark; RivaGAN needs packages of its own.")
    ] = "longtake",
) -> None:
    """Attack the pixel mark in every known way and see what is still read."""
    from rich.console import Console
    from rich.progress import Progress

    from longtake.evaluate.marks import Plan, evaluate

    plan = Plan(out, clips, seconds, short, tuple(only or ()), mark)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("attacking", total=1.0)
        for name, share in evaluate(plan):
            bar.update(task, description=name, completed=share)
    typer.echo((out / f"{plan.name}.md").read_text(encoding="utf-8"))


@app.command("wrong-keys")
def wrong_keys_command(
    count: Annotated[int, typer.Option(help="Keys to try.", min=1)] = 10_000,
    seconds: Annotated[float, typer.Option(help="Of each clip at most.")] = 60.0,
    short: Annotated[int, typer.Option(help="Pixels of the shorter side.")] = 360,
) -> None:
    """Read real footage with keys that marked nothing: how often does the pixel mark seem to be there?"""
    from rich.console import Console
    from rich.progress import Progress

    from longtake.evaluate.wrong_keys import FalseAlarms, wrong_keys

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=1.0)
        for event in wrong_keys(count, seconds, short):
            if isinstance(event, FalseAlarms):
                typer.echo(str(event))
            else:
                bar.update(task, completed=event)


@app.command("guard")
def guard_command(
    out: Out,
    films: Annotated[int, typer.Option(help="Drawn films that carry the marks.", min=0)] = 1000,
    made: Annotated[int, typer.Option(help="Films by the model beside them.", min=0)] = 100,
    size: Annotated[str, typer.Option(help="Width x height of the films.")] = "640x360",
    seconds: Annotated[float, typer.Option(help="Length of a film.")] = 2.0,
    model: Annotated[
        str, typer.Option(help="Makes them: a model's name, or a weights file.")
    ] = "pocket-fast",
) -> None:
    """Send own films on as a messenger does, and count how many the guard still refuses; and real clips."""
    from rich.console import Console
    from rich.progress import Progress

    from longtake.evaluate.guard import GuardPlan, evaluate

    plan = GuardPlan(out, films, made, size, seconds, model)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking", total=1.0)
        for name, share in evaluate(plan):
            bar.update(task, description=name, completed=share)
    typer.echo((out / "guard.md").read_text(encoding="utf-8"))


@app.command("scaling")
def scaling_command(
    data: Annotated[Path, typer.Option(help="Folder of encoded clips.")],
    vae: Annotated[Path, typer.Option(help="The VAE the clips were encoded with.")],
    text: Annotated[Path, typer.Option(help="Pretrained text encoder.")],
    out: Out,
    presets: Annotated[str, typer.Option(help="Sizes to compare.")] = "xs,s,pocket",
    minutes: Annotated[float, typer.Option(help="Training time of each size.")] = 10.0,
    size: Annotated[str, typer.Option(help="Size of the clips.")] = "320x192",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    compile: Annotated[bool, typer.Option(help="Compile the networks.")] = True,
    threads: Annotated[int | None, typer.Option(help="Threads torch may use.")] = None,
) -> None:
    """Train several sizes on the same clips for the same time and fit held-out loss against operations."""
    import torch

    from longtake.evaluate.scaling import ScalingPlan, run_scaling
    from longtake.train.commands import parse_sizes

    if threads is not None:
        torch.set_num_threads(threads)
    native = parse_sizes(size)
    assert native is not None
    names = tuple(name.strip() for name in presets.split(","))
    plan = ScalingPlan(data, vae, text, out, names, native[0], minutes, device=device, compile=compile)
    fit = run_scaling(plan)["fit"]
    typer.echo(f"L = {fit['floor']:.4f} + {fit['scale']:.4g} C^-{fit['exponent']:.4f}")
    typer.echo(str(out / "scaling.svg"))


@app.command("collapse")
def collapse_command(
    out: Out,
    seeds: Annotated[int, typer.Option(help="Repetitions, each with its own pictures.")] = 3,
    generations: Annotated[int, typer.Option(help="Models trained one after another.")] = 5,
    pictures: Annotated[int, typer.Option(help="Pictures in a training set, and made by a model.")] = 300,
    steps: Annotated[int, typer.Option(help="Steps of training of each model.")] = 500,
) -> None:
    """Train tiny models on what tiny models made, with the guard and without, and see what is lost."""
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from longtake.evaluate.collapse import MIXES, CollapsePlan, run
    from longtake.evaluate.collapse_report import table, write_collapse
    from longtake.evaluate.report import pyplot
    from longtake.evaluate.tiny import Recipe

    pyplot()  # says at once, not after the work, that it is missing
    torch.set_num_threads(1)  # so small a network is slower on more
    plan = CollapsePlan(out, seeds, generations, pictures, Recipe(steps))
    rows = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rendering", total=seeds * generations * 2 * len(MIXES))
        for row in run(plan):
            rows.append(row)
            said = f"seed {row.seed}, generation {row.generation}, {row.mix}"
            bar.update(task, description=said, advance=1)
    write_collapse(plan, rows)
    typer.echo(table(rows))
    typer.echo(str(out / "collapse.svg"))


@app.command("server")
def server_command(
    out: Annotated[Path | None, typer.Option(help="Markdown file for the report.")] = None,
    rate: Annotated[float, typer.Option(help="Creates a second of the load test.", min=1)] = 200.0,
    seconds: Annotated[float, typer.Option(help="Length of the load test; 0 leaves it out.", min=0)] = 60.0,
    jobs: Annotated[int, typer.Option(help="Jobs of the chaos test; 0 leaves it out.", min=0)] = 2000,
    workers: Annotated[int, typer.Option(help="Worker processes.", min=1)] = 4,
    worker_kills: Annotated[int, typer.Option(help="Workers to kill.", min=0)] = 4,
    server_kills: Annotated[int, typer.Option(help="Times to kill the server.", min=0)] = 10,
    pretend: Annotated[float, typer.Option(help="Seconds a made-up film takes.", min=0.01)] = 1.0,
    seed: Annotated[int, typer.Option(help="Chooses what is killed when.")] = 0,
) -> None:
    """Press the server, then kill it and its workers at random, and count what was lost: it must be nothing."""
    from longtake.evaluate.server import ServerPlan, evaluate_server, report

    plan = ServerPlan(rate, seconds, jobs, workers, worker_kills, server_kills, pretend, seed)
    outcome = evaluate_server(plan, load=seconds > 0, chaos=jobs > 0)
    page = report(plan, outcome)
    typer.echo(page)
    if out is not None:
        out.write_text(page, encoding="utf-8")
    raise typer.Exit(0 if outcome.is_sound else 1)
