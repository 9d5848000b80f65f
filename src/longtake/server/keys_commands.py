"""`longtake keys ...`: the keys that marks are made with, and those of the Videos API."""

from __future__ import annotations

import typer

from longtake.provenance.commands import app as of_marks
from longtake.server.commands import api

app = typer.Typer(
    no_args_is_help=True, help="Keys: of the marks (show, rotate, export) and of the Videos API."
)
app.registered_commands += of_marks.registered_commands
app.add_typer(api, name="api")
