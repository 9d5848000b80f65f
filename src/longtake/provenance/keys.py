"""The secret the marks are made from: a ring of 256-bit master keys in a folder of the user's, never in a repository.

The newest key marks; all of them read. Every purpose gets a key of its own (HKDF, RFC 5869), so that what leaks
from one says nothing about another.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from longtake.errors import KeyFileError

KEY_BYTES = 32
MOST_KEYS = 16
"""The payload's HMAC covers four bits of key version."""
_FILE = "keys.json"


@dataclass(frozen=True)
class MasterKey:
    """One master key. `version` counts up from 0; `created` is a date."""

    version: int
    secret: bytes
    created: str

    def derive(self, purpose: str, size: int = KEY_BYTES) -> bytes:
        """The key for one purpose, `size` bytes (at most 8160). Raises ValueError above that."""
        return hkdf(self.secret, purpose.encode(), size)

    @property
    def fingerprint(self) -> str:
        """Names the key without giving it away."""
        return self.derive("fingerprint", 8).hex()


@dataclass(frozen=True)
class KeyRing:
    """All keys of one user, oldest first; never empty."""

    keys: tuple[MasterKey, ...]

    @property
    def current(self) -> MasterKey:
        return self.keys[-1]


def hkdf(secret: bytes, purpose: bytes, size: int) -> bytes:
    """HKDF with SHA-256 and an empty salt (RFC 5869)."""
    if not 0 < size <= 255 * 32:
        raise ValueError(f"HKDF gives 1 to 8160 bytes, not {size}")
    pseudorandom = hmac.digest(bytes(32), secret, "sha256")
    block, out = b"", b""
    for counter in range(1, -(-size // 32) + 1):
        block = hmac.digest(pseudorandom, block + purpose + bytes([counter]), "sha256")
        out += block
    return out[:size]


def stream(key: bytes, label: str, size: int) -> bytes:
    """`size` pseudorandom bytes, the same on every machine and with every library version (SHAKE-256)."""
    return hashlib.shake_256(len(key).to_bytes(2, "big") + key + label.encode()).digest(size)


def data_dir() -> Path:
    """Where keys, certificates and ledgers live: LONGTAKE_DATA, or the platform's folder for such data."""
    if own := os.environ.get("LONGTAKE_DATA"):
        return Path(own)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "longtake"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "longtake"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "longtake"


def load_ring(folder: Path | None = None) -> KeyRing:
    """The user's keys; the first is made at first use. Raises KeyFileError when the file cannot be read or made."""
    path = (folder or data_dir()) / _FILE
    if not path.exists():
        first = (_fresh(0),)
        try:
            _write(path, first, exclusive=True)
        except FileExistsError:
            return load_ring(folder)  # another process was first
        return KeyRing(first)
    return KeyRing(_read(path))


def find_ring(folder: Path | None = None) -> KeyRing | None:
    """The user's keys if there are any; makes none."""
    path = (folder or data_dir()) / _FILE
    return KeyRing(_read(path)) if path.exists() else None


def rotate(folder: Path | None = None) -> KeyRing:
    """Add a new key, which marks from now on; the old ones still read. Raises KeyFileError when the ring is full."""
    ring = load_ring(folder)
    if len(ring.keys) >= MOST_KEYS:
        raise KeyFileError(
            f"the ring holds {MOST_KEYS} keys, the most a payload can name; start a new LONGTAKE_DATA folder"
        )
    keys = (*ring.keys, _fresh(ring.current.version + 1))
    _write((folder or data_dir()) / _FILE, keys)
    return KeyRing(keys)


def export(target: Path, folder: Path | None = None) -> None:
    """Copy the ring into a new file with mode 0600. Raises KeyFileError when the file exists or cannot be made."""
    ring = load_ring(folder)
    try:
        _write(target, ring.keys, exclusive=True)
    except FileExistsError:
        raise KeyFileError(f"{target} exists and is not overwritten; give another name") from None


def _fresh(version: int) -> MasterKey:
    return MasterKey(version, secrets.token_bytes(KEY_BYTES), time.strftime("%Y-%m-%d", time.gmtime()))


def _read(path: Path) -> tuple[MasterKey, ...]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["keys"]
        keys = tuple(
            MasterKey(int(e["version"]), bytes.fromhex(e["secret"]), str(e["created"])) for e in entries
        )
        if [k.version for k in keys] != list(range(len(keys))) or any(
            len(k.secret) != KEY_BYTES for k in keys
        ):
            raise ValueError("versions or lengths are wrong")
        if not 0 < len(keys) <= MOST_KEYS:
            raise ValueError("no keys, or too many")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KeyFileError(
            f"the keys in {path} cannot be read ({type(error).__name__}); restore the file from a copy, "
            "or move it away to start with a new key"
        ) from None
    return keys


def _write(path: Path, keys: tuple[MasterKey, ...], exclusive: bool = False) -> None:
    """Beside, durable, then renamed; readable by the user alone from the first byte."""
    text = json.dumps(
        {"keys": [{"version": k.version, "secret": k.secret.hex(), "created": k.created} for k in keys]},
        indent=1,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        private_file(path, text.encode(), exclusive)
    except FileExistsError:
        raise
    except OSError as error:
        raise KeyFileError(
            f"the keys cannot be kept in {path.parent} ({error.strerror}); set LONGTAKE_DATA to a folder of yours"
        ) from None


def private_file(path: Path, content: bytes, exclusive: bool = False) -> None:
    """Write a file of mode 0600, whole or not at all. Raises OSError; FileExistsError when exclusive and there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(beside, path)  # fails when the name is taken, atomically
        else:
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
