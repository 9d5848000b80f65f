"""Keys: made once, private, rotated without forgetting, exported without overwriting."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from longtake.errors import KeyFileError
from longtake.provenance import keys


def test_made_once_and_private(tmp_path: Path) -> None:
    assert keys.find_ring(tmp_path) is None
    ring = keys.load_ring(tmp_path / "new")
    assert ring == keys.load_ring(tmp_path / "new") == keys.find_ring(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new" / "keys.json").stat().st_mode) == 0o600
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["keys.json"]


def test_rotation_keeps_the_old_keys(tmp_path: Path) -> None:
    first = keys.load_ring(tmp_path).current
    ring = keys.rotate(tmp_path)
    assert ring.keys[0] == first and ring.current.version == 1 and ring == keys.load_ring(tmp_path)
    for _ in range(keys.MOST_KEYS - 2):
        keys.rotate(tmp_path)
    with pytest.raises(KeyFileError, match="most a payload can name"):
        keys.rotate(tmp_path)


def test_export_is_private_and_overwrites_nothing(tmp_path: Path) -> None:
    ring = keys.load_ring(tmp_path)
    copy = tmp_path / "copy" / "keys.json"
    keys.export(copy, tmp_path)
    assert keys.load_ring(copy.parent) == ring and stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(KeyFileError, match="not overwritten"):
        keys.export(copy, tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"keys": []}', '{"keys": [{"version": 0}]}', "[1]"])
def test_a_damaged_file_is_said_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(KeyFileError, match="restore the file"):
        keys.load_ring(tmp_path)
    assert (tmp_path / "keys.json").read_text() == text


def test_hkdf_is_the_standard_one() -> None:
    """RFC 5869, test case 3: empty salt and purpose."""
    out = keys.hkdf(b"\x0b" * 22, b"", 42)
    assert out.hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_a_key_per_purpose(tmp_path: Path) -> None:
    key = keys.load_ring(tmp_path).current
    assert len({key.derive("a"), key.derive("b"), key.secret}) == 3 and len(key.fingerprint) == 16
