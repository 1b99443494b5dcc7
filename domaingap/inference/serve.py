"""A page with what a camera sees, from a web server of this process's own.

It listens on the loopback address unless told otherwise. Other programs and pages on the same machine can reach that, too:
so everything lies below a random token, which only the printed address holds; a ``Host`` that isn't ours is refused, or
another site's name could be made to lead here (DNS rebinding); and so is what a browser says another site asked for.
Pictures are encoded when somebody asks for one, in the thread of who asks; a browser that is slow gets fewer.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import ipaddress
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from domaingap.errors import UserError
from domaingap.inference.live import Shown
from domaingap.progress import console

LOOPBACK = "127.0.0.1"
CONNECTIONS = 64
"""At once; more are turned away."""
PATIENCE_S = 20.0
"""Seconds that a connection may be idle, or take for one answer."""
WAIT_S = 5.0
"""Seconds that a request waits for the next picture before it is told that there is none."""
NEAR_S = 2.0
"""Seconds after its last request in which a page still counts as open."""
AGAIN_S = 0.4
"""Seconds in which an open page asks again; it is told then that it ended."""
GRACE_S = 2.0
"""Seconds at most for answers that are under way at the end."""

POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FILES = {"live.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
REFUSED = "This address isn't whole. 'domaingap predict' has printed the whole one where it was started.\n"


@dataclass(frozen=True)
class About:
    """What a page says of itself.

    Attributes:
        source: the camera's name, or the file's.
        names: of the networks.
        size: width and height of each network's picture in pixels.
    """

    source: str
    names: Sequence[str]
    size: tuple[int, int]


class PageView:
    """A page; a :class:`domaingap.inference.live.View`.

    Args:
        host: a name or address of this machine.
        port: where to listen; 0 for any that is free.

    Attributes:
        url: of the page, with its token.
        exposure: who can see it, where that is more than this machine; else empty.

    Raises:
        UserError: the host isn't ours, or the port can't be had.
    """

    def __init__(self, host: str = LOOPBACK, port: int = 0) -> None:
        self._token = secrets.token_urlsafe(16)
        self._changed = threading.Condition()
        self._shown: Shown | None = None
        self._note: str | None = None
        self._stop = threading.Event()
        self._watched = threading.Event()
        self._asked = 0.0
        self._about: About | None = None
        family, address = _resolve(host, port)
        try:
            self._server = _Server(family, address, self)
        except OSError as error:
            raise _not_to_be_had(error, host, port) from error
        bound = ipaddress.ip_address(str(self._server.server_address[0]).partition("%")[0])
        own = socket.gethostname().lower()
        self._hosts = {host.lower(), str(bound)} | ({"localhost"} if bound.is_loopback or bound.is_unspecified else set())
        self._any_address = bound.is_unspecified
        if self._any_address:
            self._hosts.add(own)
        name = own if self._any_address else str(bound)
        port = self._server.server_address[1]
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{port}/{self._token}/"
        self.exposure = (
            ""
            if bound.is_loopback
            else f"--host {host}: whoever reaches port {port} of this machine and knows this address sees the camera and "
            "can stop it; nothing is encrypted, so that the network in between sees it, too"
        )

    def start(self, about: About) -> None:
        """Answer from now on."""
        self._about = about
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="page", daemon=True).start()

    # As a View.

    def ready(self) -> bool:
        return self._watched.is_set()

    def stopped(self) -> bool:
        return self._stop.is_set()

    def show(self, shown: Shown) -> None:
        with self._changed:
            self._shown = shown
            self._changed.notify_all()

    def finish(self, note: str) -> None:
        """Tell the pages that are open why nothing more comes, and close."""
        with self._changed:
            self._note = note
            self._changed.notify_all()
        if time.monotonic() - self._asked < NEAR_S:
            time.sleep(AGAIN_S)
        deadline = time.monotonic() + GRACE_S
        while self._server.answering and time.monotonic() < deadline:
            time.sleep(0.02)
        self.close()

    def close(self) -> None:
        """Stop listening."""
        if self._about is not None:
            self._server.shutdown()
        self._server.server_close()

    # For requests, in their threads.

    def allowed(self, host: str | None) -> bool:
        """Whether a ``Host`` header names this machine. Its port doesn't matter: SSH may forward another one."""
        try:
            name = urlsplit(f"//{host}").hostname if host else None
        except ValueError:
            return False
        if name is None:
            return False
        if self._any_address:
            # An address can't be made to lead elsewhere; a name can.
            with contextlib.suppress(ValueError):
                ipaddress.ip_address(name)
                return True
        return name in self._hosts

    def below_token(self, path: str) -> str | None:
        """What stands behind the token in a request's path; None where that isn't ours."""
        parts = path.split("/", 2)
        whole = len(parts) == 3 and not parts[0]
        if not whole or not hmac.compare_digest(parts[1].encode("utf-8", "replace"), self._token.encode()):
            return None
        return parts[2]

    def page(self) -> str:
        """The page as HTML."""
        assert self._about is not None
        about = self._about
        return str(_template().render(source=about.source, names=about.names, width=about.size[0], height=about.size[1]))

    def next(self, after: int) -> Shown | None:
        """A frame that comes after one by its number, at once or within :data:`WAIT_S`; None where there is none."""
        self._asked = time.monotonic()
        self._watched.set()
        with self._changed:
            self._changed.wait_for(lambda: self._note is not None or self._newer(after), WAIT_S)
            self._asked = time.monotonic()
            return self._shown if self._newer(after) else None

    def _newer(self, after: int) -> bool:
        return self._shown is not None and self._shown.frame.number > after

    def state(self) -> dict[str, Any]:
        """What is said of the last frame, and under ``ended`` why it was the last; None while more come."""
        with self._changed:
            figures = self._shown.figures if self._shown is not None else {}
            return {**figures, "ended": self._note}

    def stop(self) -> dict[str, Any]:
        """End it; the last state."""
        self._stop.set()
        with self._changed:
            self._changed.wait_for(lambda: self._note is not None, 2 * WAIT_S)
        return self.state()


class _Server(ThreadingHTTPServer):
    """Requests in threads that nobody waits for."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32
    # On Windows it would let two programs listen on one port.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, family: socket.AddressFamily, address: Any, view: PageView) -> None:
        self.address_family, self.view = family, view
        self._slots = threading.Semaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._open: set[Any] = set()
        self.answering = 0
        super().__init__(address, _Request)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's asks the name service for our name
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def answers(self, change: int) -> None:
        """Count the requests that are being answered."""
        with self._lock:
            self.answering += change

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)
            self._slots.release()

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # a browser that went away
            console.print(f"page: {type(error).__name__}: {error}")


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "domaingap", ""
    timeout = PATIENCE_S
    server: _Server

    def do_GET(self) -> None:
        self._counted(self._get)

    def do_POST(self) -> None:
        self._counted(self._post)

    def _counted(self, answer: Any) -> None:
        self.server.answers(+1)
        try:
            if (name := self._let_in()) is not None:
                answer(name)
        finally:
            self.server.answers(-1)

    def _let_in(self) -> str | None:
        """What is asked for, below the token; None where the request was refused."""
        view, headers = self.server.view, self.headers
        hosts = headers.get_all("Host") or []
        origin = headers.get("Origin")
        from_us = headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin") and (
            origin is None or origin == f"http://{hosts[0] if hosts else ''}"
        )
        if len(hosts) != 1 or not view.allowed(hosts[0]):
            self._refuse("This host isn't served here.\n")
            return None
        name = view.below_token(self.path.partition("?")[0])
        # A page elsewhere may link to ours, which is a navigation; it gets nothing else.
        if name is None or not (from_us or (name == "" and headers.get("Sec-Fetch-Mode") == "navigate")):
            self._refuse(REFUSED)
            return None
        return name

    def _get(self, name: str) -> None:
        view = self.server.view
        if name == "":
            self._send(view.page().encode(), "text/html; charset=utf-8")
        elif name in FILES:
            self._send(_file(name).encode(), f"{FILES[name]}; charset=utf-8")
        elif name == "state":
            self._send_json(view.state())
        elif name == "frame":
            self._frame(self.path.partition("?")[2])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _frame(self, query: str) -> None:
        after = query.removeprefix("after=")
        shown = self.server.view.next(int(after) if after.isascii() and after.isdigit() and len(after) < 16 else -1)
        if shown is not None:
            self._send(shown.jpeg(), "image/jpeg", {"Frame": str(shown.frame.number)})
        elif (state := self.server.view.state())["ended"] is not None:
            self._send_json(state)
        else:
            self._send(b"", "image/jpeg", status=HTTPStatus.NO_CONTENT)

    def _post(self, name: str) -> None:
        self.close_connection = True  # whatever was sent with it isn't read
        if name == "stop":
            self._send_json(self.server.view.stop())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _refuse(self, why: str) -> None:
        self.close_connection = True
        self._send(why.encode(), "text/plain; charset=utf-8", status=HTTPStatus.FORBIDDEN)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # In plain words: the base class's page repeats what was sent.
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(f"{status.value} {status.phrase}\n".encode(), "text/plain; charset=utf-8", status=status)

    def _send_json(self, content: Any) -> None:
        self._send(json.dumps(content).encode(), "application/json")

    def _send(
        self, content: bytes, kind: str, more: dict[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        for name, value in {**POLICY, **(more or {})}.items():
            self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the addresses hold the token."""


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    try:
        if not host.strip():
            raise OSError("empty")
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"--host {host or repr(host)}: no address is known by this name; {LOOPBACK} is this machine alone"
        ) from error
    return found[0][0], found[0][4]


def _not_to_be_had(error: OSError, host: str, port: int) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(f"--port {port}: in use by another program; give another one, or 0 for any that is free")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(f"--port {port}: you may not listen there; give one from 1024 on, or 0 for any that is free")
    if error.errno == errno.EADDRNOTAVAIL:
        return UserError(f"--host {host}: no address of this machine; {LOOPBACK} is this machine alone")
    return UserError(f"--host {host}: can't listen there ({error.strerror or error}); {LOOPBACK} is this machine alone")


@cache
def _file(name: str) -> str:
    return resources.files("domaingap.inference").joinpath("page", name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(_file("live.html.j2"))
