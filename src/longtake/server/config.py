"""How a server is set up: one frozen noun that `longtake serve` fills from its flags."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from longtake.errors import RequestError

PACKAGED = ("pocket", "pocket-fast")
"""Models that are always there."""
ANIMATIC = "animatic"
"""The model name under which a storyboard is acted out on the paper theatre, without a model."""
SORA = ("sora-2", "sora-2-pro", "sora-2-2025-10-06", "sora-2-pro-2025-10-06", "sora-2-2025-12-08")
"""Names that programs written for the retired API send; the default model answers to them."""


@dataclass(frozen=True)
class Limits:
    """What keeps memory and disk bounded."""

    upload_bytes: int = 200 * 2**20
    field_bytes: int = 2 * 2**20
    pixels: int = 4096 * 4096
    media_seconds: float = 60.0
    decode_seconds: float = 60.0
    body_seconds: float = 120.0
    """A body that takes longer to arrive is given up."""
    header_seconds: float = 20.0
    queue: int = 10_000
    queue_per_key: int = 5_000
    films_per_day: int = 0
    """Of one key; 0 for no limit."""
    attempts: int = 3
    free_bytes: int = 2**30
    """No new job is taken while less disk than this is free."""


@dataclass(frozen=True)
class Config:
    """Everything a server and its workers need to know."""

    data: Path
    database: str = ""
    """SQLAlchemy address; empty for SQLite in the data folder."""
    storage: str = ""
    """Folder or fsspec address such as s3://bucket/films; empty for a folder in the data folder."""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    ray: str = ""
    """Address of a Ray cluster that runs the workers; empty for processes of this machine."""
    ray_gpus: float = 0.0
    """GPUs of one worker there."""
    models: tuple[tuple[str, str], ...] = tuple(zip(PACKAGED, PACKAGED, strict=True))
    """(name, weights) pairs; the first is the default."""
    keep_days: float = 0.0
    """How long finished films are kept; 0 for ever."""
    lease_seconds: float = 20.0
    allow_private: bool = False
    """Whether webhooks and image addresses may lead into the private network."""
    director: str = "rules"
    """Who writes storyboards: rules, or the address of an OpenAI-compatible endpoint."""
    studio: bool = True
    """Whether the browser app is served at /."""
    log_format: str = "text"
    pretend: float | None = None
    """Seconds a made-up model takes, for load tests; None for real films."""
    limits: Limits = field(default_factory=Limits)

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data / 'jobs.sqlite'}"

    @property
    def storage_url(self) -> str:
        return self.storage or str(self.data / "films")

    @property
    def work(self) -> Path:
        """Where workers keep what a job has finished so far."""
        return self.data / "work"

    @property
    def shots(self) -> Path:
        """Where the shots of finished films are kept for a while, so that one of them can be made again."""
        return self.data / "shots"

    @property
    def names(self) -> tuple[str, ...]:
        """Every model name that may be asked for."""
        return tuple(dict.fromkeys((*(name for name, _ in self.models), *SORA, ANIMATIC)))

    def weights(self, name: str) -> str:
        """The weights behind a model name."""
        if name == ANIMATIC:
            return name
        return dict(self.models).get(name, self.models[0][1])

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_models(pairs: list[str]) -> tuple[tuple[str, str], ...]:
    """['pocket', 'mine=/path/w.safetensors'] -> (('pocket', 'pocket'), ('mine', '/path/...')). Raises RequestError."""
    parsed = []
    for pair in pairs:
        name, named, weights = pair.partition("=")
        weights = weights or name
        if not (known := weights in PACKAGED) and not Path(weights).exists():
            from longtake.pipeline import model_names  # torch is loaded from here on

            if not (known := weights in model_names()):
                raise RequestError(
                    f"--model {pair}: there is no file or folder {weights}; write NAME=PATH, or a model by name: "
                    f"{', '.join(model_names())}"
                )
        parsed.append((name if named or known else Path(name).stem, weights))
    return tuple(parsed) or Config.models
