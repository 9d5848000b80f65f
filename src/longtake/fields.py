"""What single values may be, for everything a user sends: checks that say what is valid, and the nearest fix."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ValidationError

from longtake.errors import nearest

FRAME_RATES = (12, 24, 30)
LONGEST_TEXT = 2000
LONGEST_FILM = 60.0
_SIZE = re.compile(r"^(\d{1,5})x(\d{1,5})$")


def clean_text(text: str) -> str:
    """Control characters and runs of white space become one space. Raises ValueError when it is too long."""
    kept = "".join(c if not unicodedata.category(c).startswith("C") else " " for c in text)
    kept = " ".join(kept.split())
    if len(kept) > LONGEST_TEXT:
        raise ValueError(f"the text has {len(kept)} characters; shorten it to {LONGEST_TEXT}")
    return kept


def check_size(size: str) -> str:
    """WIDTHxHEIGHT, both even, 128 to 1920, no slimmer than 21:9."""
    match = _SIZE.match(size.lower().replace("×", "x").strip())
    if not match:
        raise ValueError(f"size must be WIDTHxHEIGHT in pixels, such as 1280x720, not {size!r}")
    width, height = int(match[1]), int(match[2])
    even = width % 2 == 0 and height % 2 == 0
    fits = min(width, height) >= 128 and max(width, height) <= 1920
    if not even or not fits or not 9 / 21 - 1e-6 <= width / height <= 21 / 9 + 1e-6:
        near = "x".join(str(min(1920, max(128, round(v / 2) * 2))) for v in (width, height))
        raise ValueError(
            f"size {size} cannot be made: both sides even, 128 to 1920, no slimmer than 21:9; "
            f"the nearest is {near}"
            if not width or not height or 9 / 21 <= width / height <= 21 / 9
            else f"size {size} is slimmer than 21:9; try 1280x720, 720x1280 or 1024x1024"
        )
    return f"{width}x{height}"


def check_fps(fps: int) -> int:
    if fps not in FRAME_RATES:
        near = min(FRAME_RATES, key=lambda rate: abs(rate - fps))
        raise ValueError(f"fps must be one of {', '.join(map(str, FRAME_RATES))}, not {fps}; try {near}")
    return fps


def check_seed(seed: int) -> int:
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be 0 to {2**32 - 1}, not {seed}")
    return seed


Text = Annotated[str, AfterValidator(clean_text)]
Size = Annotated[str, AfterValidator(check_size)]
Fps = Annotated[int, AfterValidator(check_fps)]
Seed = Annotated[int, AfterValidator(check_seed)]


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first of pydantic's complaints in one line: the field, the value and what would be valid."""
    first = error.errors(include_url=False)[0]
    where = _path(first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown field{nearest(str(first['loc'][-1]), _known(model, first['loc'][:-1]))}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if first["type"] == "missing":
        return f"{where}: missing; give it a value"
    if first["type"] == "literal_error":
        valid = re.findall(r"[^' ,]+", first["ctx"]["expected"].replace(" or ", ", "))
        value = str(first["input"])
        return (
            f"{where}: {_short(first['input'])} is not valid; use {', '.join(valid)}{nearest(value, valid)}"
        )
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where}: {message}, not {_short(first['input'])}" if where else message


def _path(loc: tuple[int | str, ...]) -> str:
    """("shots", 2, "duration") -> shots[2].duration"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _known(model: type[BaseModel], loc: tuple[int | str, ...]) -> Mapping[str, Any]:
    """The fields of the model that lies at `loc` below `model`."""
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            kind: Any = model.model_fields[part].annotation
            found = [k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, BaseModel)]
            model = found[0] if found else model
    return model.model_fields


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
