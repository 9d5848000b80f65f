"""Who made this? Reads a file's marks and says what was found; it never says that something is real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from longtake.errors import MediaError
from longtake.provenance import aigc, label, payload, signature
from longtake.provenance.detect import SYNC_HIT, Reading, detect
from longtake.provenance.evidence import WINDOW, windows, working_size
from longtake.provenance.keys import KeyRing, find_ring
from longtake.provenance.xmp import from_xmp
from longtake.video import Frame, is_picture, read_metadata, read_picture, sample_grey

Verdict = Literal["generated", "generated, altered", "no marks found"]
SAMPLED = 6
"""Frames, half a second apart at 24 a second, in which the label is looked for."""


@dataclass(frozen=True)
class Signal:
    """One mark: whether it was found, and what it says."""

    name: str
    found: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """All signals and one verdict. `record` is the request that made the file, when the file carries it."""

    path: str
    verdict: Verdict
    signals: tuple[Signal, ...]
    produce_id: str = ""
    record: dict[str, Any] | None = None
    mark: str = ""
    """The id in the pixel mark, 10 hexadecimal digits."""
    altered: tuple[str, ...] = ()
    """What shows that the file is not as it was made."""

    @property
    def marked(self) -> bool:
        return self.verdict != "no marks found"

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)


def verify(path: Path | str, thorough: bool = True, pixel: bool = True) -> Report:
    """Look for every mark in a video or picture. Raises MediaError when the file cannot be read.

    Bounded in time and memory for any file. `thorough` looks for the pixel mark in cropped, scaled, stretched and
    turned pictures too; without it only where an untouched file has it. `pixel`: look for it at all.
    """
    file = Path(path)
    still = is_picture(file)
    metadata = picture_metadata(file) if still else read_metadata(file)
    found = aigc.parse(metadata.get(aigc.KEY))
    record = _record(metadata.get(aigc.RECORD))
    signed = signature.read(file)
    ring = find_ring()
    scores: list[float] = []
    frames = _labelled(iter([_grey(file)]) if still else sample_grey(file, working_size), scores)
    moved = thorough and signed.state != "trusted"  # what this installation signed lies as it was made
    reading = detect(windows(frames), ring or KeyRing(()), moved) if pixel else Reading(0.0)
    for _ in islice(frames, 1 + WINDOW * (SAMPLED - len(scores))):
        pass  # the mark may have been found before the label was looked at often enough
    signals = (
        _label_signal(scores),
        _pixel_signal(reading, ring),
        _aigc_signal(found),
        _signature_signal(signed),
    )
    mark = f"{reading.ident:010x}" if reading.ident is not None else ""
    produce_id = str(found["ProduceID"]) if found and found.get("ProduceID") else ""
    wrong = _contradictions(signals, record, signed, mark, ring, produce_id)
    if not any(signal.found for signal in signals):
        verdict: Verdict = "no marks found"
    else:
        verdict = "generated, altered" if wrong else "generated"
    return Report(str(file), verdict, signals, produce_id, record, mark, tuple(wrong))


def _contradictions(
    signals: tuple[Signal, ...],
    record: dict[str, Any] | None,
    signed: signature.Signature,
    mark: str,
    ring: KeyRing | None,
    produce_id: str,
) -> list[str]:
    """What shows that the file is no longer as it was made."""
    label_seen, pixel_seen, has_aigc, _ = (signal.found for signal in signals)
    marks, request = ((record or {}).get(part) for part in ("marks", "request"))
    marks, request = (part if isinstance(part, dict) else {} for part in (marks, request))
    wrong = []
    if signed.state == "invalid":
        wrong.append("the file was changed after it was signed")
    if pixel_seen and not mark:
        wrong.append("the pixel mark is damaged: found, but its id cannot be read")
    if pixel_seen and not has_aigc:
        wrong.append("the metadata was removed")
    if pixel_seen and signed.state == "none":
        wrong.append("the signature was removed")
    if record is not None and request.get("label") is True and not label_seen:
        wrong.append("the visible label is gone")
    said = str(marks.get("pixel_mark", "none"))
    readable = ring is not None and marks.get("key") in {key.fingerprint for key in ring.keys}
    if readable and not said.startswith("none") and not pixel_seen:
        wrong.append("the pixel mark is gone")
    if mark and produce_id and mark != f"{payload.mark_id(produce_id):010x}":
        wrong.append("the pixel mark belongs to another file than the metadata")
    if mark and signed.mark and signed.mark != mark:
        wrong.append("the pixel mark belongs to another file than the signature")
    if label_seen and not (pixel_seen or has_aigc or signed.generated):
        wrong.append("only the visible label is left")
    return wrong


def _label_signal(scores: list[float]) -> Signal:
    share = sum(score >= label.MATCH for score in scores) / max(1, len(scores))
    detail = (
        f"in {share:.0%} of {len(scores)} frames looked at, best correlation {max(scores, default=0):.2f}"
    )
    return Signal("visible label", share >= 0.5, detail)


def _pixel_signal(reading: Reading, ring: KeyRing | None) -> Signal:
    if ring is None:
        return Signal("pixel mark", False, "not looked for: there are no keys on this machine")
    if reading.ident is not None:
        detail = f"id {reading.ident:010x}, key {reading.version}, sync {reading.z:.1f} sigma"
    else:
        detail = f"sync {reading.z:.1f} sigma, {SYNC_HIT:g} needed"
    return Signal("pixel mark", reading.found, detail)


def _aigc_signal(found: dict[str, Any] | None) -> Signal:
    if found is None:
        return Signal("AIGC metadata", False, "no AIGC key")
    certainty = {"1": "", "2": ", possibly generated", "3": ", suspected"}[found["Label"]]
    producer, ident = (str(found.get(key) or "unknown")[:80] for key in ("ContentProducer", "ProduceID"))
    return Signal("AIGC metadata", True, f"producer {producer}, id {ident}{certainty}")


def _signature_signal(signed: signature.Signature) -> Signal:
    claim = {signature.CAMERA: "; it claims a camera, which is not proof"}.get(signed.source_type, "")
    if signed.generated:
        claim = "; it says AI-generated"
    return Signal("C2PA signature", signed.generated, signed.detail + claim)


def _labelled(frames: Iterator[Frame], scores: list[float]) -> Iterator[Frame]:
    """The same frames; some of them are searched for the label on the way."""
    for number, frame in enumerate(frames):
        if number % WINDOW == 0 and len(scores) < SAMPLED:
            scores.append(label.match(frame))
        yield frame


def _grey(file: Path) -> Frame:
    image = Image.fromarray(read_picture(file)).convert("L")
    return np.asarray(image.resize(working_size(*image.size), Image.Resampling.BOX))


def _record(text: str | None) -> dict[str, Any] | None:
    try:
        values = json.loads(text or "")
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def picture_metadata(file: Path) -> dict[str, str]:
    """Text entries of a picture. Raises MediaError when it cannot be read."""
    read_picture(file)  # a damaged picture is an error before it is a finding
    try:
        with Image.open(file) as image:
            image.load()
            texts = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
            packet = image.info.get("xmp", b"")
    except OSError as error:
        raise MediaError(f"{file.name} cannot be read as a picture ({error}); try png or jpg") from None
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)
    return texts | from_xmp(text)
