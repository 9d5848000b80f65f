"""Runs the server in this process until it is told to stop."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import webbrowser

import uvicorn

from longtake.errors import OutputError, RequestError
from longtake.server.app import build_app, claim_folder
from longtake.server.config import Config
from longtake.server.keys import KeyRing
from longtake.server.logs import set_up
from longtake.server.protocol import patient_for

log = logging.getLogger("longtake.server")
_FAREWELL = 10
_SWITCH = 0.0005
"""Seconds a thread may keep the interpreter while another waits for it."""


def serve(config: Config, open_studio: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C; `open_studio` shows the studio in a browser.

    Raises LongtakeError for what would keep the server from starting.
    """
    set_up(config.log_format)
    sys.setswitchinterval(_SWITCH)
    with claim_folder(config.data):
        pass  # before anything in it is touched
    app = build_app(config)
    is_open = KeyRing(app.state.desk.engine).is_open()
    if is_open and not config.is_loopback:
        raise RequestError(
            f"--host {config.host} can be reached from outside and there is no API key; "
            "make one first: longtake keys api create NAME"
        )
    listener = _listen(config)
    port = listener.getsockname()[1]
    if config.pretend is not None:
        log.warning("films are made up: --pretend is for load tests")
    address = f"http://[{config.host}]:{port}" if ":" in config.host else f"http://{config.host}:{port}"
    log.info("serving", extra={"url": f"{address}/v1", "keys": "none" if is_open else "required"})
    if config.studio:
        print(f"The studio is at {address}/", flush=True)
    settings = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, loop="auto", backlog=2048,
        http=patient_for(config.limits.header_seconds), h11_max_incomplete_event_size=65536,
        timeout_keep_alive=30, timeout_graceful_shutdown=_FAREWELL, limit_concurrency=2000,
    )  # fmt: skip
    # uvicorn ends in good order and then raises the signal again, for whoever was asked before: nobody
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server = uvicorn.Server(settings)
    if open_studio:  # the socket listens already: the page waits until it is answered
        webbrowser.open(f"{address}/")
    server.run(sockets=[listener])
    if not server.started:
        raise OutputError("the server could not start; its log says why")


def _listen(config: Config) -> socket.socket:
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise RequestError(f"there is no address {config.host!r} here; try 127.0.0.1") from None
    listener = socket.socket(family[0], socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(family[4])
    except OSError as error:
        listener.close()
        raise OutputError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror}; try another --port"
        ) from None
    listener.listen(2048)
    return listener
