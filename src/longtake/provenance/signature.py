"""The signature: a C2PA manifest that says "made by a trained algorithm", signed last, read with its trust state.

The signing certificate is the user's own (signer.pem and signer.key in the data folder, or the files given), or one
made at first use under a root of its own. Only who knows that root can trust it, and the reading says so.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from longtake.errors import KeyFileError, OutputError
from longtake.provenance.findings import finding
from longtake.provenance.keys import data_dir, private_file

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
EDITED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
CAMERA = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
BINDING = "longtake.pixel.1"
"""The name of the pixel mark's algorithm in the soft binding."""
MIME = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".png": "image/png",
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
}  # fmt: skip
_CHAIN, _KEY, _ROOT = "signer.pem", "signer.key", "root.pem"
_YEARS = 10

State = Literal["trusted", "valid", "invalid", "none"]


@dataclass(frozen=True)
class Signature:
    """What a file's manifest says. `valid` means unchanged since signing, by someone unknown here."""

    state: State
    signer: str = ""
    source_type: str = ""
    generated: bool = False
    mark: str = ""
    """The pixel mark's id in the soft binding."""
    detail: str = ""


def sign(
    source: Path, target: Path, title: str, mark: str, notes: dict[str, Any], folder: Path | None = None
) -> None:
    """Write `source` with a manifest to `target`. `mark` is the pixel mark's id, or empty.

    Raises KeyFileError for certificates that cannot be used, OutputError when the file cannot be signed.
    """
    import c2pa

    chain, key, algorithm = _signer_files(folder or data_dir())
    manifest = _manifest(title, mark, notes)
    try:
        info = c2pa.C2paSignerInfo(algorithm, chain.encode(), key.encode(), None)
        with (
            _context(None) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(json.dumps(manifest), context) as builder,
            open(source, "rb") as read,
            open(target, "w+b") as written,
        ):
            builder.sign(signer, MIME[source.suffix.lower()], read, written)
    except (c2pa.C2paError, OSError) as error:
        target.unlink(missing_ok=True)
        raise OutputError(
            f"{source.name.lstrip('.')} cannot be signed ({_short(error)}); check the certificate in "
            f"{folder or data_dir()}, or move {_CHAIN} and {_KEY} away to have new ones made"
        ) from None


def read(path: Path, folder: Path | None = None, language: str = "en") -> Signature:
    """The manifest of a file, checked against the root of this user. Never raises for what a file may hold.

    `language`: en or zh, of `detail`.
    """
    import c2pa

    mime = _mime(path)
    if mime is None:
        return Signature("none", detail=finding("no_c2pa_kind", language))
    root = (folder or data_dir()) / _ROOT
    try:
        anchors = root.read_text(encoding="ascii") if root.exists() else None
        with (
            _context(anchors) as context,
            open(path, "rb") as file,
            c2pa.Reader(mime, file, context=context) as reader,
        ):
            store = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return Signature("none", detail=finding("no_c2pa", language))
    except (c2pa.C2paError, OSError, ValueError) as error:
        return Signature("none", detail=finding("unreadable_c2pa", language, reason=_short(error)))
    return _read_store(store, language)


def _mime(path: Path) -> str | None:
    """By the first bytes, since a name may say anything."""
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return None
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:10] == b"qt" else "video/mp4"
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/avi"}.get(head[8:])
    return "image/png" if head[:4] == b"\x89PNG" else "image/jpeg" if head[:3] == b"\xff\xd8\xff" else None


def _read_store(store: dict[str, Any], language: str) -> Signature:
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    assertions = {
        a.get("label", ""): a.get("data", {}) for a in manifest.get("assertions", []) if isinstance(a, dict)
    }
    sources = [
        str(action.get("digitalSourceType", ""))
        for label, data in assertions.items()
        if label.startswith("c2pa.actions") and isinstance(data, dict)
        for action in data.get("actions", [])
        if isinstance(action, dict)
    ]
    source = next((s for s in sources if s), "")
    binding = assertions.get("c2pa.soft-binding", {})
    mark = ""
    if isinstance(binding, dict) and binding.get("alg") == BINDING:
        blocks = binding.get("blocks") or [{}]
        mark = str(blocks[0].get("value", "")) if isinstance(blocks[0], dict) else ""
    claimed = str(store.get("validation_state", "Invalid")).lower()
    state: State = "trusted" if claimed == "trusted" else "valid" if claimed == "valid" else "invalid"
    signer = str((manifest.get("signature_info") or {}).get("issuer", "unknown"))
    said = finding(state, language, signer=signer)
    return Signature(state, signer, source, source in (GENERATED, EDITED), mark, said)


def _manifest(title: str, mark: str, notes: dict[str, Any]) -> dict[str, Any]:
    from longtake.provenance.aigc import software

    assertions: list[dict[str, Any]] = [
        {
            "label": "c2pa.actions",
            "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": GENERATED}]},
        },
        {
            "label": "cawg.training-mining",
            "data": {
                "entries": {
                    f"cawg.{use}": {"use": "notAllowed"}
                    for use in ("data_mining", "ai_training", "ai_generative_training", "ai_inference")
                }
            },
        },
        {"label": "longtake.marks", "data": notes},
    ]
    if mark:
        blocks = [{"scope": {}, "value": mark}]
        assertions.append({"label": "c2pa.soft-binding", "data": {"alg": BINDING, "blocks": blocks}})
    name, _, number = software().partition(" ")
    return {
        "title": title,
        "claim_generator_info": [{"name": name, "version": number or "0"}],
        "assertions": assertions,
    }


def _context(anchors: str | None) -> Any:
    """Offline, without thumbnails; `anchors` are trusted roots (PEM)."""
    import c2pa

    settings: dict[str, Any] = {
        "builder": {"thumbnail": {"enabled": False}},
        "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    }
    if anchors:
        settings["trust"] = {"user_anchors": anchors}
    return c2pa.Context.from_dict(settings)


def _signer_files(folder: Path) -> tuple[str, str, str]:
    """Certificate chain, private key (PEM) and algorithm; made at first use. Raises KeyFileError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain, key = folder / _CHAIN, folder / _KEY
    if not chain.exists() or not key.exists():
        _make_signer(folder)
    try:
        chain_text, key_text = chain.read_text(encoding="ascii"), key.read_text(encoding="ascii")
        leaf = x509.load_pem_x509_certificate(chain_text.encode())
        private = load_pem_private_key(key_text.encode(), None)
        if leaf.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
            raise KeyFileError(
                f"the certificate {chain} expired on {leaf.not_valid_after_utc:%Y-%m-%d}; "
                "replace it, or move it away to have a new one made"
            )
        if isinstance(private, ed25519.Ed25519PrivateKey):
            algorithm = "ed25519"
        elif isinstance(private, ec.EllipticCurvePrivateKey):
            algorithm = {256: "es256", 384: "es384", 521: "es512"}[private.key_size]
        else:
            algorithm = "ps256"
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise KeyFileError(
            f"{chain} and {key.name} cannot be used ({_short(error)}); give a PEM chain, leaf first, and its key "
            "without a password, or move both away to have new ones made"
        ) from None
    return chain_text, key_text, algorithm


def _make_signer(folder: Path) -> None:
    """An own root, whose key is thrown away after it signed one leaf, and that leaf."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Longtake, this installation")
        return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def usage(leaf: bool) -> x509.KeyUsage:
        return x509.KeyUsage(leaf, False, False, False, False, not leaf, not leaf, False, False)

    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    until = now + datetime.timedelta(days=365 * _YEARS)

    def begin(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("Longtake root"))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(now).not_valid_after(until).add_extension(identifier, critical=False)

    root = begin("Longtake root", root_key).add_extension(x509.BasicConstraints(True, None), critical=True)
    root_certificate = root.add_extension(usage(leaf=False), critical=True).sign(root_key, hashes.SHA256())
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    leaf = begin("Longtake signer", leaf_key).add_extension(x509.BasicConstraints(False, None), critical=True)
    leaf = leaf.add_extension(usage(leaf=True), critical=True).add_extension(authority, critical=False)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    leaf_certificate = leaf.sign(root_key, hashes.SHA256())
    root_text, leaf_text = (c.public_bytes(Encoding.PEM) for c in (root_certificate, leaf_certificate))
    secret = leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file, content in ((_ROOT, root_text), (_CHAIN, leaf_text + root_text), (_KEY, secret)):
            private_file(folder / file, content)
    except OSError as error:
        raise KeyFileError(
            f"no certificate can be kept in {folder} ({error.strerror}); set LONGTAKE_DATA to a folder of yours"
        ) from None


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:100]
