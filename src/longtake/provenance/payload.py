"""What the pixel mark says: a 40-bit id and 24 bits of HMAC, in a BCH word of 127 bits, read from soft values.

Only who has the key can make the 24 bits, so a mark that reads is no accident and no forgery from nothing. That a
mark can be carried over from one picture to another is not prevented here; the signature answers that.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import numpy as np

from longtake.provenance import bch
from longtake.provenance.keys import MasterKey

ID_BITS, TAG_BITS = 40, 24
BITS = bch.LENGTH
AGREEMENT = 0.73
"""Of the best word with the soft values, below which it is not believed: noise stays below (docs/marks.md)."""

Soft = bch.Soft


def mark_id(produce_id: str) -> int:
    """The 40 bits that stand for a produce id."""
    return int.from_bytes(hashlib.sha256(produce_id.encode()).digest()[:5], "big")


def encode(ident: int, key: MasterKey) -> np.ndarray[Any, np.dtype[np.int8]]:
    """The 127 bits of the mark as -1 and +1."""
    message = ident << TAG_BITS | _tag(ident, key)
    return np.array(bch.encode(message), np.int8) * 2 - 1


def decode(soft: Soft, key: MasterKey) -> int | None:
    """The id in 127 soft values (their sign is the bit, their size its certainty), or None."""
    message, agreement = bch.decode(soft)
    ident, tag = message >> TAG_BITS, message & (1 << TAG_BITS) - 1
    genuine = hmac.compare_digest(tag.to_bytes(3, "big"), _tag(ident, key).to_bytes(3, "big"))
    return ident if genuine and agreement >= AGREEMENT else None


def _tag(ident: int, key: MasterKey) -> int:
    text = bytes([key.version]) + ident.to_bytes(ID_BITS // 8, "big")
    return int.from_bytes(hmac.digest(key.derive("payload"), text, "sha256")[: TAG_BITS // 8], "big")
