"""All marks of one file, in the order in which they go on: label, pixel mark, metadata, signature; then the gate.

Whatever writes a film goes through here, so no entry point can forget a mark. Without label or pixel mark only for
footage to train on; the metadata and the signature say so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longtake.errors import OutputError
from longtake.provenance import aigc, label, payload, signature
from longtake.provenance.keys import load_ring
from longtake.provenance.verify import verify
from longtake.provenance.watermark import SMALLEST, Marker, markable
from longtake.request import Request
from longtake.video import Frame


class Marks:
    """The marks for the file that `request` makes with these weights; `caption` is what the model was told.

    `size` is (width, height) where the file is not of the request's; `latent` says which mark its noise carried.
    """

    def __init__(
        self,
        request: Request,
        weights: str,
        caption: str,
        size: tuple[int, int] | None = None,
        latent: str | list[dict[str, Any]] = "none",
    ) -> None:
        width, height = size or (request.width, request.height)
        ring = load_ring()
        self._request = request
        ident = payload.mark_id(aigc.produce_id(request, weights))
        self._marker: Marker | None = None
        if not request.watermark:
            self._said = "none: left out on request, for training footage"
        elif not markable(width, height):
            self._said = f"none: the shorter side has fewer than {SMALLEST} pixels"
        else:
            self._marker = Marker(width, height, ident, ring.current)
            self._said = f"{ident:010x}"
        self._key = ring.current.fingerprint
        said = {"pixel_mark": self._said, "latent_mark": latent, "key": self._key}
        self.tags = aigc.tags(request, weights, caption, said)

    def apply(self, frame: Frame, seconds: float) -> Frame:
        """The frame shown at this time, labelled and marked."""
        if self._request.label:
            frame = label.burn(frame, seconds)
        return frame if self._marker is None else self._marker.apply(frame, seconds)

    def seal(self, path: Path, title: str) -> None:
        """Sign the written file, then read every mark back. Raises OutputError when one is missing."""
        signed = path.with_name(f".signed{path.name}")
        notes: dict[str, Any] = {
            "visible_label": self._request.label,
            "pixel_mark": self._said,
            "metadata": True,
        }
        try:
            signature.sign(path, signed, title, self._said if self._marker else "", notes)
            signed.replace(path)
        finally:
            signed.unlink(missing_ok=True)
        self._check(path)

    def _check(self, path: Path) -> None:
        report = verify(path, thorough=False, pixel=self._marker is not None)
        wanted = {
            "visible label": self._request.label,
            "pixel mark": self._marker is not None,
            "AIGC metadata": True,
            "C2PA signature": True,
        }
        missing = [s.name for s in report.signals if wanted[s.name] and not s.found]
        if missing:
            raise OutputError(
                f"the {' and the '.join(missing)} cannot be read back from the file, so it was not kept; "
                "try a larger --size or report this with the seed"
            )


def pixel_marker(produce_id: str, width: int, height: int) -> Marker | None:
    """The pixel mark alone, for a film that is marked in parts; None where it is too small for one."""
    if not markable(width, height):
        return None
    return Marker(width, height, payload.mark_id(produce_id), load_ring().current)


def sign_in_place(path: Path, title: str, mark: str, notes: dict[str, Any]) -> None:
    """Put a manifest into the file. Raises OutputError or KeyFileError; the file is then as it was."""
    signed = path.with_name(f".signed{path.name}")
    try:
        signature.sign(path, signed, title, mark, notes)
        signed.replace(path)
    finally:
        signed.unlink(missing_ok=True)
