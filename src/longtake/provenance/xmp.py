"""Metadata entries as XMP, for picture formats without text chunks."""

from __future__ import annotations

import re


def to_xmp(tags: dict[str, str]) -> bytes:
    """Metadata entries as an XMP packet, for formats without text chunks."""
    inner = "".join(f"<longtake:{k}>{_escape(v)}</longtake:{k}>" for k, v in tags.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:longtake="urn:longtake">{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def from_xmp(packet: str) -> dict[str, str]:
    pairs = re.findall(r"<longtake:(\w+)>(.*?)</longtake:\1>", packet, re.DOTALL)
    return {k: v.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for k, v in pairs}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
