"""`longtake serve` and `longtake keys api ...`: thin; what they need is imported on use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longtake.errors import MissingExtraError, RequestError

if TYPE_CHECKING:
    from sqlalchemy import Engine

api = typer.Typer(no_args_is_help=True, help="Keys of the Videos API: shown once, kept as a hash.")

Data = Annotated[
    Path | None, typer.Option(help="Folder of jobs and films; the user's data folder by default.")
]
Database = Annotated[
    str, typer.Option(help="postgresql://... for many machines; SQLite in the data folder by default.")
]


def default_data() -> Path:
    """The user's own data folder."""
    root = os.environ.get("LONGTAKE_DATA") or os.environ.get(
        "XDG_DATA_HOME", str(Path.home() / ".local" / "share")
    )
    return Path(root) if "LONGTAKE_DATA" in os.environ else Path(root) / "longtake"


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine need an API key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any free one.", min=0, max=65535)] = 8000,
    data: Data = None,
    database: Database = "",
    storage: Annotated[
        str, typer.Option(help="Folder or s3://BUCKET/PREFIX; in the data folder by default.")
    ] = "",
    workers: Annotated[
        int, typer.Option(help="Workers, each with its own model in memory.", min=0, max=1024)
    ] = 1,
    ray: Annotated[
        str, typer.Option(help="Address of a Ray cluster: workers are actors there, as many as jobs need.")
    ] = "",
    ray_gpus: Annotated[float, typer.Option(help="GPUs of one worker on the cluster.", min=0)] = 0.0,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model by name, or NAME=PATH of weights; the first is the default."),
    ] = None,
    keep_days: Annotated[
        float, typer.Option(help="Delete films after so many days; 0 keeps them.", min=0)
    ] = 0.0,
    max_queue: Annotated[int, typer.Option(help="Jobs that may wait.", min=1)] = 10_000,
    max_queue_per_key: Annotated[
        int | None, typer.Option(help="Jobs of one key that may wait; half of them all by default.", min=1)
    ] = None,
    max_upload_mb: Annotated[int, typer.Option(help="Largest body of a request.", min=1)] = 200,
    films_per_day: Annotated[
        int, typer.Option(help="What one key may ask for in a day; 0 for no limit.", min=0)
    ] = 0,
    lease_seconds: Annotated[
        float, typer.Option(help="A worker silent for so long loses its job.", min=2)
    ] = 20.0,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private", help="Let webhooks and image addresses lead into the private network."
        ),
    ] = False,
    director: Annotated[
        str,
        typer.Option(help="Who writes storyboards: rules, or the address of an OpenAI-compatible endpoint."),
    ] = "rules",
    studio: Annotated[bool, typer.Option(help="Serve the studio, the app in the browser, at /.")] = True,
    open_studio: Annotated[
        bool, typer.Option("--open", help="Open the studio in this machine's browser.")
    ] = False,
    log_format: Annotated[str, typer.Option(help="text or json.")] = "text",
    pretend: Annotated[float | None, typer.Option(hidden=True)] = None,
) -> None:
    """Answer the Videos API on this machine, and serve the studio in the browser."""
    _need_extra()
    from longtake.server.config import Config, Limits, parse_models
    from longtake.server.run import serve as run

    if log_format not in ("text", "json"):
        raise RequestError(f"unknown log format {log_format!r}; choose text or json")
    if director != "rules":
        from longtake.director.llm import Endpoint

        Endpoint.of(director)
    if open_studio and not studio:
        raise RequestError("--open opens the studio, which --no-studio leaves out; give one of them")
    limits = Limits(
        queue=max_queue, queue_per_key=max_queue_per_key or max(1, max_queue // 2),
        upload_bytes=max_upload_mb * 2**20, films_per_day=films_per_day,
    )  # fmt: skip
    run(
        Config(
            data=(data or default_data()).absolute(), database=database, storage=storage, host=host, port=port,
            workers=workers, ray=ray, ray_gpus=ray_gpus, models=parse_models(model or []), keep_days=keep_days,
            lease_seconds=lease_seconds, allow_private=allow_private, director=director, studio=studio,
            log_format=log_format, pretend=pretend, limits=limits,
        ),
        open_studio,
    )  # fmt: skip


@api.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who the key is for.")],
    data: Data = None,
    database: Database = "",
    films_per_day: Annotated[
        int | None, typer.Option(help="What the key may ask for in a day.", min=0)
    ] = None,
) -> None:
    """Make a key and show it, this once."""
    from longtake.server import keys
    from longtake.server.store import write

    print(write(_open(data, database), lambda c: keys.create(c, name, films_per_day)))


@api.command("list")
def list_keys(data: Data = None, database: Database = "") -> None:
    """Names of the keys, when they were made, and whether they are valid."""
    import time

    from sqlalchemy import select

    from longtake.server.schema import keys
    from longtake.server.store import read

    for row in read(
        _open(data, database), lambda c: c.execute(select(keys).order_by(keys.c.created_at)).all()
    ):
        made = time.strftime("%Y-%m-%d", time.gmtime(row.created_at))
        print(f"{'revoked' if row.revoked_at else 'valid':8} {made}  {row.name}")


@api.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(help="Name of the key.")], data: Data = None, database: Database = ""
) -> None:
    """Refuse a key from now on."""
    from longtake.server import keys
    from longtake.server.store import write

    write(_open(data, database), lambda c: keys.revoke(c, name))
    print(f"{name} is revoked")


def _open(data: Path | None, database: str) -> Engine:
    _need_extra()
    from longtake.server.config import Config
    from longtake.server.store import open_database

    folder = (data or default_data()).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return open_database(Config(data=folder, database=database).database_url)


def _need_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise MissingExtraError('the server needs more packages: pip install "longtake[serve]"') from None
