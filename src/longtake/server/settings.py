"""The configuration on its way to a worker: JSON on a pipe, so that no secret stands in a list of processes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from longtake.server.config import Config, Limits


def to_json(config: Config) -> dict[str, Any]:
    return {**asdict(config), "data": str(config.data)}


def from_json(values: dict[str, Any]) -> Config:
    models = tuple((name, weights) for name, weights in values["models"])
    return Config(
        **{**values, "data": Path(values["data"]), "limits": Limits(**values["limits"]), "models": models}
    )
