"""The ledger of admissions: one JSON line a file, the whole signed with the user's key, checked before training.

An entry holds for bytes, not for names: a file that changed since is not in it. Lines end with one that carries an
HMAC over all before it, so a line added, removed or changed by hand makes the ledger worthless, and it says so.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from longtake.curate.guard import Admission, digest, files
from longtake.errors import OutputError, RequestError
from longtake.provenance.keys import KeyRing, MasterKey, find_ring, load_ring

_PURPOSE = "admission ledger"


def write_ledger(path: Path, admissions: Iterable[Admission]) -> None:
    """Write and sign. Raises OutputError; a file of that name stays as it was then."""
    key = load_ring().current
    lines = [json.dumps(asdict(entry), ensure_ascii=False, sort_keys=True) for entry in admissions]
    lines.append(json.dumps({"hmac": _seal(lines, key), "key": key.fingerprint}))
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"the ledger cannot be written to {path} ({error.strerror})") from None


def read_ledger(path: Path) -> list[Admission]:
    """The entries of a ledger whose seal holds. Raises RequestError when it does not, or when it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        seal = json.loads(lines.pop())
        entries = [Admission(**json.loads(line)) for line in lines]
        fingerprint, claimed = str(seal["key"]), str(seal["hmac"])
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise RequestError(
            f"{path} is no admission ledger ({type(error).__name__}); make one: longtake curate FOLDER --ledger {path}"
        ) from None
    ring = find_ring() or KeyRing(())
    key = next((key for key in ring.keys if key.fingerprint == fingerprint), None)
    if key is None:
        raise RequestError(
            f"{path} was signed with a key that is not here; set LONGTAKE_DATA to where it is, "
            "or run longtake curate again"
        )
    if not hmac.compare_digest(claimed, _seal(lines, key)):
        raise RequestError(f"{path} was changed after it was signed; run longtake curate again")
    return entries


def admitted_files(folder: Path, ledger: Path) -> list[Path]:
    """The files of a folder, all of which the ledger admits. Raises RequestError naming the first it does not."""
    allowed = {entry.sha256 for entry in read_ledger(ledger) if entry.decision == "admitted"}
    found = list(files(folder))
    for path in found:
        if digest(path) not in allowed:
            raise RequestError(
                f"{path} is not admitted by {ledger.name}; run longtake curate {folder} --ledger {ledger}, "
                "and take rejected files out of the folder"
            )
    if not found:
        raise RequestError(f"there are no videos or pictures in {folder}")
    return found


def _seal(lines: list[str], key: MasterKey) -> str:
    return hmac.digest(key.derive(_PURPOSE), "\n".join(lines).encode(), "sha256").hex()
