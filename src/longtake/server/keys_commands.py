"""`longtake keys ...`: the keys of the marks, and under `api` those of the Videos API."""

from __future__ import annotations

from longtake.provenance.commands import app
from longtake.server.commands import api

app.add_typer(api, name="api")
