"""Who may ask a MONAI Label server what: this machine by default, others with a password, never a page of another origin.

MONAI Label answers everyone, to pages of any origin. A page in the browser of someone who runs a server could then segment, train,
upload and delete. This layer is in front of it and lets through what viewers ask, from where they may ask it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import os
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, parse_qsl, urlsplit

Scope = MutableMapping
App = Callable[[Scope, Callable[[], Awaitable], Callable[..., Awaitable]], Awaitable]

# the environment variables by which the verb configures the server
HOST, NAMES, ORIGINS, PASSWORD = (f"BUNDLE_LABEL_{name}" for name in ("HOST", "NAMES", "ORIGINS", "PASSWORD"))
NAME = r"[^/\\]+"
# what 3D Slicer, OHIF and scripts ask; uploads of weights, archives, other kinds of models and pages of other sites are not among it
ROUTES = [
    (methods.split(), re.compile(pattern))
    for methods, pattern in (
        ("GET HEAD", r"/(favicon\.ico|openapi\.json)?"),
        ("GET HEAD", r"/(ohif|static)(/.*)?"),
        ("GET", r"/info/?"),
        ("GET", r"/logs/?(gpu/?)?"),
        ("GET", rf"/model/(info/)?{NAME}"),
        ("POST", rf"/infer/{NAME}"),
        ("GET DELETE", r"/(train|scoring)/?|/batch/infer/?"),
        ("POST", rf"/(train|scoring)/({NAME})?|/(batch/infer|activelearning)/{NAME}"),
        ("GET PUT DELETE", r"/datastore/?"),
        ("GET HEAD PUT DELETE", r"/datastore/(image|label)/?"),
        ("GET PUT", r"/datastore/(image|label)/info/?"),
        ("PUT", r"/datastore/updatelabelinfo/?"),
        ("GET", r"/datastore/dataset/?"),
        ("PUT", r"/session/?"),
        ("GET DELETE", rf"/session/{NAME}"),
    )
]
# a name or address, and a port; nothing that a parser of addresses could read another way
HOST_FORM = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]{1,5})?")
ONCE = ("host", "origin", "referer", "sec-fetch-site", "sec-fetch-mode", "authorization", "content-type")
# files come as parts of a form, which are kept on disk; all else is JSON or text of a few kB, which is kept in memory
MOST_BYTES = 10_000_000
AUTH = re.compile(r"/auth/?(token(/valid)?/?)?")
PACS = re.compile(r"/proxy/dicom/.+")
OPEN = re.compile(r"/(ohif(/.*)?)?")
HOME = """<!doctype html><title>MONAI Label</title><h1>MONAI Label</h1>
<p>A server for <a href="/ohif/">OHIF</a> and 3D Slicer. What it understands: <a href="/openapi.json">openapi.json</a>;
what it did: <a href="/logs/">logs</a>.</p>"""
# pages load nothing from other sites
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' data: blob:; frame-ancestors 'self'"


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass
class Rules:
    """Who may ask.

    Attributes:
        host: what the server listens on.
        names: other names of this machine, by which it is reached.
        origins: pages of other servers that may ask, such as `http://viewer.example:3000`.
        password: what others must know; "" asks for none.
        remote_studies: whether the studies are a DICOMweb server, to which OHIF's requests are passed on.
    """

    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    password: str = field(default="", repr=False)
    remote_studies: bool = False

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ, *, remote_studies: bool = False) -> Rules:
        """The rules that the verb has written into the environment; without them: this machine only."""
        lists = (tuple(word for word in environment.get(name, "").split(",") if word) for name in (NAMES, ORIGINS))
        names, origins = lists
        return cls(environment.get(HOST) or "127.0.0.1", names, origins, environment.get(PASSWORD, ""), remote_studies)

    def knows(self, host: str) -> bool:
        """Whether the server goes by that name. A page of a name that an attacker points at this machine (DNS rebinding) does not."""
        if not HOST_FORM.fullmatch(host):
            return False
        name = urlsplit(f"//{host}").hostname or ""
        if is_loopback(name) or name in (self.host, *self.names):
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in {own.lower() for own in (socket.gethostname(), socket.getfqdn())}
        return True  # an address is not a name that someone else could point here


@dataclass
class Refusal(Exception):
    """An answer in place of the server's."""

    status: int
    words: str
    headers: tuple[tuple[str, str], ...] = ()


class Guard:
    """An ASGI application in front of another one, which passes on what `Rules` allow.

    Refused are: a Host that is not this machine's (DNS rebinding), a request of a page of another origin (Origin, Sec-Fetch-Site,
    Referer), a missing password, a path or method that is not in `ROUTES`, names with `..` and empty ones in paths, a header that
    is given twice, and long bodies. With a password, it is asked for as HTTP's Basic (browsers, curl; any user name), or exchanged
    for a token by MONAI Label's own `/auth/token` (3D Slicer).

    Args:
        app: the server.
        rules: who may ask.
    """

    def __init__(self, app: App, rules: Rules) -> None:
        self.app, self.rules = app, rules
        self.token = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Callable, send: Callable) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no viewer speaks WebSocket
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        names = [key.decode("latin-1").lower() for key, _ in scope["headers"]]
        try:
            if any(names.count(name) > 1 for name in ONCE):
                raise Refusal(400, "a header is given twice.")
            origin = self._origin(scope, headers)
        except Refusal as refusal:
            await _answer(send, refusal.status, {"detail": refusal.words}, refusal.headers)
            return
        send = _with_headers(send, origin)
        try:
            if scope["method"] == "OPTIONS":
                await _answer(send, 204, None)
                return
            await self._pass_on(scope, headers, receive, send)
        except Refusal as refusal:
            await _answer(send, refusal.status, {"detail": refusal.words}, refusal.headers)

    def _origin(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """The allowed foreign origin of this request, "" for this server's own pages and for programs."""
        host = headers.get("host", "")
        if not self.rules.knows(host):
            raise Refusal(403, f"this server does not go by the name {host[:80]!r}. Start it with --host or --names for that name.")
        origin = headers.get("origin", "")
        own = (f"http://{host}", f"https://{host}")
        if origin and origin not in own and origin not in self.rules.origins:
            raise Refusal(403, f"pages of {origin[:80]!r} may not use this server. Start it with --origins for them.")
        if origin in self.rules.origins:
            return origin
        site = headers.get("sec-fetch-site")
        # a link to the first page or to the viewer may be anywhere
        link = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET" and OPEN.fullmatch(scope["path"])
        if site not in (None, "same-origin", "none") and not link:
            raise Refusal(403, "pages of other servers may not use this one.")
        referer = headers.get("referer", "")
        if site is None and not origin and referer and not referer.startswith(tuple(f"{one}/" for one in own)):
            raise Refusal(403, "pages of other servers may not use this one.")
        return ""

    async def _pass_on(self, scope: Scope, headers: Mapping[str, str], receive: Callable, send: Callable) -> None:
        path, method = scope["path"], scope["method"]
        if AUTH.fullmatch(path) and os.environ.get("MONAI_LABEL_AUTH_ENABLE", "").lower() not in ("1", "true"):
            await self._auth(path, method, headers, receive, send)
            return
        await self._check_password(headers)
        self._check_path(path, method)
        pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if len({key for key, _ in pairs}) < len(pairs) and not PACS.fullmatch(path):
            raise Refusal(400, "a parameter is given twice.")
        if path == "/":
            await _answer(send, 200, HOME)
            return
        if path.startswith("/logs"):  # as a page it loads scripts of other sites
            lines = dict(pairs).get("lines", "300")
            scope = {**scope, "query_string": f"text=true&lines={lines if re.fullmatch('[0-9]{1,6}', lines) else 300}".encode()}
        if not headers.get("content-type", "").lower().startswith("multipart/"):
            receive = _given(await _body(receive, MOST_BYTES), receive)
        # MONAI Label would answer by the origin, and pass the password on to a DICOMweb server
        drop = {b"origin"} | ({b"authorization", b"cookie"} if self.rules.password or PACS.fullmatch(path) else set())
        await self.app({**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() not in drop]}, receive, send)

    def _check_path(self, path: str, method: str) -> None:
        # an empty name makes what follows it a path from the root, or the name of another server
        if ".." in path.split("/") or "//" in path or "\\" in path or any(ord(letter) < 32 for letter in path):
            raise Refusal(400, "the path leads elsewhere.")
        matching = [methods for methods, pattern in ROUTES if pattern.fullmatch(path)]
        if PACS.fullmatch(path) and self.rules.remote_studies:
            matching.append(["GET", "POST"])
        if not matching:
            raise Refusal(404, "this server does not offer that.")
        if not any(method in methods for methods in matching):
            raise Refusal(405, f"this server does not offer {method[:10]} for that.")

    async def _check_password(self, headers: Mapping[str, str]) -> None:
        if not self.rules.password:
            return
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(value.strip(), self.token):
            return
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(value, validate=True).decode("utf-8").partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                given = ""
            if _same(given, self.rules.password):
                return
        if kind:
            await asyncio.sleep(1)  # so that trying words takes long
        raise Refusal(401, "this server asks for its password.", (("www-authenticate", 'Basic realm="MONAI Label", charset="UTF-8"'),))

    async def _auth(self, path: str, method: str, headers: Mapping[str, str], receive: Callable, send: Callable) -> None:
        """MONAI Label's own way to log in, which 3D Slicer knows, with this server's password."""
        if path.rstrip("/") == "/auth" and method == "GET":
            await _answer(send, 200, {"enabled": bool(self.rules.password), "client_id": "", "realm": ""})
        elif path.rstrip("/") == "/auth/token" and method == "POST":
            form = parse_qs((await _body(receive)).decode("utf-8", errors="replace"))
            if not self.rules.password or not _same(form.get("password", [""])[0], self.rules.password):
                await asyncio.sleep(1)
                raise Refusal(401, "this is not the password of this server.")
            await _answer(send, 200, {"access_token": self.token, "token_type": "bearer"})
        elif path.rstrip("/") == "/auth/token/valid" and method == "GET":
            await self._check_password(headers)
            await _answer(send, 200, {"username": "user"})
        else:
            raise Refusal(404, "this server does not offer that.")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode("utf-8", "surrogateescape"))


async def _body(receive: Callable, limit: int = 10_000) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more, limit = message.get("more_body", False), limit - len(parts[-1])
        if limit < 0:
            raise Refusal(413, "too long.")
    return b"".join(parts)


def _given(body: bytes, receive: Callable) -> Callable:
    """What gives a body that was received already, and then what comes after it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def giving() -> MutableMapping:
        return waiting.pop() if waiting else await receive()

    return giving


def _with_headers(send: Callable, origin: str) -> Callable:
    """Add what browsers must know to every answer: which origin may read it, and that pages load nothing from elsewhere."""
    extra = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "vary": "Origin"}
    if origin:
        extra |= {"access-control-allow-origin": origin, "access-control-allow-credentials": "true"}
        extra |= {"access-control-allow-methods": "GET, PUT, POST, DELETE", "access-control-allow-headers": "authorization, content-type"}

    async def sending(message: MutableMapping) -> None:
        if message["type"] == "http.response.start":
            kept = [(key, value) for key, value in message.get("headers", []) if not key.lower().startswith(b"access-control-")]
            message = {**message, "headers": kept + [(key.encode(), value.encode()) for key, value in extra.items()]}
        await send(message)

    return sending


async def _answer(send: Callable, status: int, content: object, headers: tuple[tuple[str, str], ...] = ()) -> None:
    body = content.encode() if isinstance(content, str) else b"" if content is None else json.dumps(content).encode()
    kind = "text/html; charset=utf-8" if isinstance(content, str) else "application/json"
    pairs = [("content-type", kind), ("content-length", str(len(body))), *headers]
    start = {"type": "http.response.start", "status": status, "headers": [(key.encode(), value.encode()) for key, value in pairs]}
    await send(start)
    await send({"type": "http.response.body", "body": body})
