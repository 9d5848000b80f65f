"""The guard: may this file be trained on? What models made stays out, since training on it collapses the next model.

Shumailov et al. 2024 (Nature 631) and Alemohammad et al. 2023 (arXiv:2307.01850) show the collapse; Gerstgrasser et
al. 2024 (arXiv:2404.01413) show that real data keeps it bounded. The cheapest signal is asked first. A file without
marks is `unknown`, never "real"; unknown files are admitted because almost all footage in the world carries no mark,
and the ledger keeps the word. A manifest that claims AI rejects even when it is invalid; a camera's claim counts only
if trusted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from longtake.errors import MediaError
from longtake.provenance import aigc, signature
from longtake.provenance.verify import Report, verify
from longtake.video import is_picture, read_metadata

Decision = Literal["admitted", "rejected", "unreadable"]
GENERATORS = re.compile(
    r"longtake|\bsora\b|openai|runway|\bpika\b|kling|hailuo|minimax|luma dream|\bveo\b|stable video|"
    r"midjourney|dall-?e|firefly|comfyui|wan2\.|hunyuanvideo|即梦|可灵|豆包",
    re.IGNORECASE,
)
"""Names in encoder, title and comment fields by which makers of films give themselves away."""
_FIELDS = ("encoder", "title", "comment", "description", "software", "artist", "longtake")
SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Admission:
    """The decision on one file. `signal` names what decided; `sha256` is of the whole file."""

    path: str
    sha256: str
    decision: Decision
    signal: str
    detail: str


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal, read in pieces. Raises MediaError when it cannot be read."""
    whole = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                whole.update(piece)
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}); check its name and rights") from None
    return whole.hexdigest()


def admit(path: Path, own: frozenset[str] = frozenset()) -> Admission:
    """Decide on one file. `own` holds digests of films this installation made. Never raises for what a file holds."""
    sha = ""
    try:
        sha = digest(path)
        if sha in own:
            return Admission(str(path), sha, "rejected", "ledger of own films", "made here")
        for check in _CHECKS:
            if found := check(path):
                return Admission(str(path), sha, *found)
        return _by_marks(path, sha)
    except MediaError as error:
        return Admission(str(path), sha, "unreadable", "decoder", str(error))


def files(folder: Path) -> Iterator[Path]:
    """Videos and pictures below a folder, in order; links are not followed out of it."""
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink():
            yield path


Found = tuple[Decision, str, str] | None


def _by_signature(path: Path) -> Found:
    signed = signature.read(path)
    if signed.generated:
        return "rejected", "C2PA source type", f"says AI-generated ({signed.state})"
    if signed.source_type == signature.CAMERA and signed.state == "trusted":
        return "admitted", "C2PA source type", "a camera's manifest, trusted"
    return None


def _by_metadata(path: Path) -> Found:
    metadata = _metadata(path)
    if found := aigc.parse(metadata.get(aigc.KEY)):
        return "rejected", "AIGC key", f"producer {str(found.get('ContentProducer') or 'unknown')[:80]}"
    for field in _FIELDS:
        value = next((str(v) for k, v in metadata.items() if k.lower() == field), "")
        if match := GENERATORS.search(value[:4000]):
            return "rejected", "metadata strings", f"{field} names {match[0]}"
    return None


def _metadata(path: Path) -> dict[str, Any]:
    if not is_picture(path):
        return dict(read_metadata(path))
    from longtake.provenance.verify import picture_metadata

    return dict(picture_metadata(path))


_CHECKS: tuple[Callable[[Path], Found], ...] = (_by_signature, _by_metadata)


def _by_marks(path: Path, sha: str) -> Admission:
    report: Report = verify(path)
    pixel = next(s for s in report.signals if s.name == "pixel mark")
    seen = next(s for s in report.signals if s.name == "visible label")
    if pixel.found:
        return Admission(str(path), sha, "rejected", "pixel mark", pixel.detail)
    if seen.found:
        return Admission(str(path), sha, "rejected", "visible label", seen.detail)
    return Admission(
        str(path), sha, "admitted", "none", "unknown origin: no mark was found, which proves nothing"
    )
