"""What can go wrong, in one small tree.

Every message is one line that says what was wrong, what is valid, and the nearest fix; the command line prints it
as it is and exits with 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LongtakeError(Exception):
    """Anything a user can put right."""


class RequestError(LongtakeError):
    """A value in what was asked for is not valid."""


class MediaError(LongtakeError):
    """A picture or video cannot be read."""


class WeightsError(LongtakeError):
    """Weights are missing, damaged, or do not fit the architecture."""


class DeviceMemoryError(LongtakeError):
    """The work does not fit into the memory of the device."""


class OutputError(LongtakeError):
    """The result cannot be written, or what was written does not carry its marks."""


class KeyFileError(LongtakeError):
    """The keys of the marks cannot be read or kept."""


class MissingExtraError(LongtakeError):
    """An optional dependency is not installed."""


def nearest(value: str, valid: Iterable[str]) -> str:
    """'; did you mean X?' for the closest of `valid`, or nothing when none is close."""
    close = get_close_matches(value, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
