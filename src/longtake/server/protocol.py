"""HTTP on a socket, with an end to waiting: a client that opens a connection and sends no request is let go."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def patient_for(seconds: float) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, closing a connection whose first headers are not complete after `seconds`."""

    class Patient(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._patience = self.loop.call_later(seconds, self._give_up)

        def on_headers_complete(self) -> None:
            self._patience.cancel()
            super().on_headers_complete()

        def connection_lost(self, error: Exception | None) -> None:
            self._patience.cancel()
            super().connection_lost(error)

        def _give_up(self) -> None:
            transport: Any = self.transport
            if not transport.is_closing():
                transport.close()

    return Patient
