"""The files of the dashboard: one page for all its addresses, and what that loads.

They hold no data, so everybody may have them; a page asks the API with the key of who looks. Files are read once, into
memory, and found by their names: no path of a client ever reaches the file system.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import logging
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

log = logging.getLogger(__name__)

PAGES = (
    "/bsgateway/",
    "/bsgateway/savings",
    "/bsgateway/traffic",
    "/bsgateway/decisions",
    "/bsgateway/decisions/{decision_id}",
    "/bsgateway/playground",
    "/bsgateway/learning",
)
"""Addresses of the one page, which shows by its address what is asked for."""
ASSETS = "/bsgateway/assets/{name}"
DIRECTORY = Path(__file__).with_name("assets")
"""What `make web` builds, and a wheel holds."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser lets the pages do: load from here, and ask here. Nothing inline, nothing from elsewhere."""
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
)
_BASE = '<base href="/bsgateway/">'
_HASHED = re.compile(r"-[0-9A-Za-z]{8,}\.[a-z0-9.]+$")
_FOR_EVER, _ALWAYS_ASK = "public, max-age=31536000, immutable", "no-cache"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
"""Of what a registry of the system might know otherwise."""
_TEXT = ("text/", "application/json", "image/svg+xml")
_WORTH_PACKING = 500


class Asset(msgspec.Struct, frozen=True):
    """A file as it is sent. `packed` is its content by gzip, None where that is not worth it."""

    content: bytes
    packed: bytes | None
    type: str
    etag: str
    cache: str


class Files:
    """The built files of a directory."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._directory = directory
        self._assets: dict[str, Asset] | None = None

    def load(self) -> dict[str, Asset]:
        """All files by name; those of another build are only seen by another process. Without any, none are kept: they
        may be built yet."""
        if self._assets is None:
            found = sorted(path for path in self._directory.glob("*") if path.is_file())
            assets = {path.name: asset(path.name, path.read_bytes()) for path in found}
            if "index.html" not in assets:
                return {}
            self._assets = assets
        return self._assets

    def file(self, request: Request) -> Response:
        """GET assets/NAME."""
        found = self.load().get(request.path_params["name"])
        if found is None:
            return Response("not found\n", 404, HEADERS, "text/plain")
        return _sent(found, request)

    def page(self, request: Request) -> Response:
        """GET of any of `PAGES`."""
        found = self.load().get("index.html")
        if found is None:
            return HTMLResponse(_UNBUILT, 503, {**HEADERS, "Cache-Control": "no-store"})
        root = str(request.scope.get("root_path", "")).rstrip("/")
        if not root:
            return _sent(found, request)
        base = f'<base href="{html.escape(root)}/bsgateway/">'.encode()
        return _sent(asset("index.html", found.content.replace(_BASE.encode(), base)), request)


def to_pages(request: Request) -> Response:
    """GET /bsgateway: relative, as only the client knows under which host and path it reaches this."""
    return RedirectResponse("bsgateway/", 307, HEADERS)


def asset(name: str, content: bytes) -> Asset:
    """A file of this name."""
    kind = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    packed = None
    if len(content) >= _WORTH_PACKING and kind.startswith(_TEXT):
        packed = gzip.compress(content, 9, mtime=0)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Asset(content, packed, kind, etag, _FOR_EVER if _HASHED.search(name) else _ALWAYS_ASK)


def _sent(found: Asset, request: Request) -> Response:
    headers = {**HEADERS, "ETag": found.etag, "Cache-Control": found.cache, "Vary": "Accept-Encoding"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if found.etag in known or known == ["*"]:
        return Response(None, 304, headers)
    content = found.content
    if found.packed is not None and accepts_gzip(request):
        content, headers["Content-Encoding"] = found.packed, "gzip"
    return Response(content, 200, headers, found.type)


def accepts_gzip(request: Request) -> bool:
    """Whether the client takes packed answers. What it says of their weight counts only where it is none."""
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return re.fullmatch(r"\s*q=0(\.0*)?\s*", weight) is None
    return False


_UNBUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>BSGateway</title></head>
<body><h1>The pages are not built</h1>
<p>This is a source tree without the files of the dashboard. Run <code>make web</code> in it and load this page again.
A wheel holds them.</p></body></html>
"""
