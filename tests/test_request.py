"""Requests: what is valid, and errors that name the nearest valid value."""

from __future__ import annotations

import math

import pytest

from longtake.errors import RequestError
from longtake.request import Request, build_request


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \x00\x07\u200b "}, "prompt is empty"),
        ({"prompt": "a" * 2001}, "shorten it to 2000"),
        ({"seconds": 0}, "0.25 to 60"),
        ({"seconds": 61}, "0.25 to 60"),
        ({"seconds": math.nan}, "0.25 to 60"),
        ({"seconds": math.inf}, "0.25 to 60"),
        ({"size": "1281x720"}, "nearest is 128[02]x720"),
        ({"size": "20000x20000"}, "nearest is 1920x1920"),
        ({"size": "1920x128"}, "slimmer than 21:9"),
        ({"size": "big"}, "WIDTHxHEIGHT"),
        ({"size": "0x0"}, "the nearest is 128x128"),
        ({"fps": 25}, "try 24"),
        ({"seed": -1}, "seed must be 0 to 4294967295"),
        ({"seed": 2**32}, "seed must be 0 to 4294967295"),
        ({"steps": 0}, "1 to 100"),
        ({"guidance": math.nan}, "1 to 20"),
        ({"strength": 0.0}, "above 0"),
        ({"task": "extend"}, "needs a video"),
        ({"task": "blend", "video": "a.mp4"}, "second"),
        ({"secnods": 4}, "did you mean seconds"),
        ({"seconds": "long"}, "seconds"),
    ],
)
def test_invalid_values_name_the_fix(values: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        build_request(**({"prompt": "a dog"} | values))
    assert "\n" not in str(raised.value)


def test_defaults_and_cleaning() -> None:
    request = build_request(prompt=" a\tdog \x1b in\n the snow ", size="640X360")
    assert request.prompt == "a dog in the snow"
    assert (request.width, request.height, request.fps, request.seconds) == (640, 360, 24, 4.0)
    assert 0 <= request.seed < 2**32


def test_record_decides_the_film_and_keeps_paths_private() -> None:
    request = build_request(prompt="一只狗", seed=5, image="pictures/first.png")
    record = request.record()
    assert record["image"] == "first.png" and record["seed"] == 5 and record["prompt"] == "一只狗"
    assert Request(**record).record() == record
