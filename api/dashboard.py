"""Serves the dashboard's built files; every path that is no file and no API is the app's one page."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_NOT_PAGES = ("api/", "socket.io", "healthz", "readyz", "metrics", "config.json")


class Dashboard(StaticFiles):
    """Static files with a fallback to index.html. Hashed files are kept for a year, the page is asked for each time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)
        self._index = folder / "index.html"

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or the page for a path that the dashboard routes itself."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            is_page = "." not in path.rsplit("/", 1)[-1] and not path.startswith(_NOT_PAGES)
            if error.status_code != 404 or not is_page or not self._index.is_file():
                raise
            response = FileResponse(self._index)
        hashed = path.startswith("assets/")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return response
