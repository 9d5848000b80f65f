"""`longtake bench wan`: how fast this engine is beside another one."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Speed beside another engine, in one process.")


@app.callback()
def _group() -> None:
    """Speed beside another engine, in one process."""


@app.command("wan")
def wan_command(
    shape: Annotated[str, typer.Option(help="tiny, 1.3b-2 (two layers of it), 1.3b or 5b.")] = "tiny",
    dtype: Annotated[str, typer.Option(help="fp32 or bf16.")] = "bf16",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """A Wan transformer's step and autoencoder against diffusers', with the same random weights."""
    import torch

    from longtake.errors import RequestError
    from longtake.evaluate.wan_bench import compare

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if dtype not in dtypes or device not in ("cpu", "cuda"):
        raise RequestError("choose --dtype fp32 or bf16, and --device cpu or cuda")
    print(f"{f'{shape}, {dtype}, {device}':28} {'ours':>9} {'diffusers':>9}")
    for line in compare(shape, dtypes[dtype], torch.device(device)):
        print(line, flush=True)
