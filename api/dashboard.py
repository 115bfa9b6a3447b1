"""Serves the dashboard's built files; every path that is no file and no API is the app's one page.

Beside a file there may be its compressed form, `app.js.gz`, made by the build. A browser that takes gzip gets that one.
Nothing is compressed while it is served, and nothing but these files is.
"""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.routing import Match, Mount
from starlette.staticfiles import NotModifiedResponse, PathLike, StaticFiles
from starlette.types import Scope

from api.paths import path_as_sent

_NOT_PAGES = ("api/", "socket.io", "healthz", "readyz", "metrics", "config.json")
# What the dashboard routes itself (dashboard/src/app/router.tsx), by the first segment of the path.
PAGES = frozenset(
    {"", "live", "transactions", "exceptions", "rules", "dead-letters", "audit", "pipeline", "signed-out"}
)
_HASHED = "assets/"
_COMPRESSED = ".gz"


class Files(Mount):
    """The dashboard's files: at every path but the API's own, which answer for themselves with 404 and 405."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Not a path of the API."""
        own = unquote(scope["path"]).lstrip("/").startswith(_NOT_PAGES)
        return (Match.NONE, {}) if own else super().matches(scope)


class Dashboard(StaticFiles):
    """Static files with a fallback to index.html. Hashed files are kept for a year, the page is asked for each time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)
        self._index = folder / "index.html"

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or the page for a path that the dashboard routes itself."""
        try:
            response = await self._file(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or not _is_page(path, scope) or not self._index.is_file():
                raise
            response = self.file_response(self._index, self._index.stat(), scope)
        hashed = path.startswith(_HASHED)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return response

    async def _file(self, path: str, scope: Scope) -> Response:
        if path.endswith(_COMPRESSED):
            raise HTTPException(404)  # a form of a file, no file of its own
        return await super().get_response(path, scope)

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file in the form that the caller takes. Each form has an entity tag of its own: size and time differ."""
        packed = Path(f"{os.fspath(full_path)}{_COMPRESSED}")
        if not packed.is_file():
            return super().file_response(full_path, stat_result, scope, status_code)
        asked = Headers(scope=scope)
        headers = {"Vary": "Accept-Encoding"}
        media_type = mimetypes.guess_type(os.fspath(full_path))[0]
        path: PathLike = full_path
        if takes_gzip(asked.get("accept-encoding", "")):
            path, stat_result = packed, packed.stat()
            headers["Content-Encoding"] = "gzip"
        response = FileResponse(path, status_code, headers, media_type, stat_result=stat_result)
        return NotModifiedResponse(response.headers) if self.is_not_modified(response.headers, asked) else response


def _is_page(path: str, scope: Scope) -> bool:
    """Whether a path without a file is a page of the dashboard: an id with a dot is, when a browser goes there."""
    sent = path_as_sent(scope)
    if unquote(sent.removeprefix("/").partition("/")[0]) not in PAGES or sent.startswith("//"):
        return False  # nothing of ours: an address of the API or of Serve that was mistyped is told so
    named = "." in path.rsplit("/", 1)[-1]
    wants_page = "text/html" in Headers(scope=scope).get("accept", "")
    return not path.startswith((_HASHED, *_NOT_PAGES)) and (wants_page or not named)


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip: by its name, else by `*`, and not with a weight of nothing."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameter = part.partition(";")
        label, _, weight = parameter.partition("=")
        try:
            weights[name.strip()] = float(weight) if label.strip() == "q" else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0
