"""Requests the server makes on somebody's word, never into the private network unless that is allowed.

A name is resolved once, every address it has must be public, and the connection goes to exactly that address, so that a
second answer of the name server changes nothing. Redirects are followed by hand, each checked the same way.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx2 as httpx

_REDIRECTS = 3
_TIMEOUT = httpx.Timeout(10.0)
_ALL = 30.0


class FetchError(Exception):
    """An address cannot or may not be reached."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, seen through every way of wrapping IPv4 in IPv6."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


async def resolve(url: str, allow_private: bool) -> tuple[str, str, str]:
    """(address to connect to as a URL, host header, server name). Raises FetchError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise FetchError("the address cannot be read") from None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise FetchError("the address must be http:// or https://, without a name and password")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port or (443 if parts.scheme == "https" else 80), type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError):
        raise FetchError(f"there is no host {host}") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private and not all(is_public(one) for one in addresses):
        raise FetchError("the address leads into a private network")
    ip = addresses[0]
    netloc = (f"[{ip}]" if ":" in ip else ip) + (f":{port}" if port else "")
    pinned = parts._replace(netloc=netloc, fragment="").geturl()
    return pinned, parts.netloc, host


async def download(url: str, target: Path, most: int, allow_private: bool) -> None:
    """Save what lies at `url`. Raises FetchError."""
    try:
        async with asyncio.timeout(_ALL):
            await _download(url, target, most, allow_private)
    except TimeoutError:
        raise FetchError("the address takes too long to answer") from None
    except httpx.HTTPError:
        raise FetchError("the address cannot be reached") from None


async def _download(url: str, target: Path, most: int, allow_private: bool) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT, follow_redirects=False) as client:
        for _ in range(_REDIRECTS + 1):
            pinned, host, name = await resolve(url, allow_private)
            request = client.build_request(
                "GET", pinned, headers={"host": host}, extensions={"sni_hostname": name}
            )
            answer = await client.send(request, stream=True)
            try:
                if answer.is_redirect:
                    url = urljoin(url, answer.headers.get("location", ""))
                    continue
                if answer.status_code != 200:
                    raise FetchError(f"the address answered {answer.status_code}")
                size = 0
                with open(target, "wb") as file:
                    async for piece in answer.aiter_bytes():
                        size += len(piece)
                        if size > most:
                            raise FetchError(f"more than {most} bytes lie at the address")
                        file.write(piece)
                return
            finally:
                await answer.aclose()
        raise FetchError("the address redirects too often")


async def post(url: str, body: bytes, headers: Mapping[str, str], allow_private: bool) -> int:
    """Send `body` and return the status; redirects are not followed. Raises FetchError."""
    try:
        async with asyncio.timeout(15), httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT) as client:
            pinned, host, name = await resolve(url, allow_private)
            async with client.stream(
                "POST",
                pinned,
                content=body,
                headers={**headers, "host": host},
                extensions={"sni_hostname": name},
            ) as answer:
                return answer.status_code
    except (httpx.HTTPError, TimeoutError) as error:
        raise FetchError(f"no answer ({type(error).__name__})") from None
