"""`longtake keys ...`: keys of the Videos API."""

from __future__ import annotations

import typer

from longtake.server.commands import api

app = typer.Typer(no_args_is_help=True, help="Keys of the Videos API.")
app.add_typer(api, name="api")
