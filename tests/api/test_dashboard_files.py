"""How the dashboard's files are served: which form to whom, and what caches are told. Needs no service."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from api.dashboard import PAGES, Dashboard, takes_gzip
from cluster import dashboard_build

SCRIPT = "export const words = [" + ", ".join(f'"word {at}"' for at in range(400)) + "];"
PAGE = "<!doctype html><title>recon</title>" + "<!-- -->" * 200


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "assets" / "app-1a2b.js").write_text(SCRIPT)
    (tmp_path / "assets" / "small-1a2b.js").write_text("export {}")
    (tmp_path / "assets" / "plex-1a2b.woff2").write_bytes(b"wOF2" * 1_000)
    dashboard_build.compress(tmp_path)
    return tmp_path


@pytest.fixture
async def http(built: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=[Mount("/", Dashboard(built))]))
    async with httpx.AsyncClient(
        transport=transport, base_url="https://console", headers={"Accept-Encoding": ""}
    ) as client:
        yield client


GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def test_only_text_that_gains_by_it_is_compressed_and_always_to_the_same_bytes(built: Path) -> None:
    packed = sorted(path.relative_to(built).as_posix() for path in built.rglob("*.gz"))
    assert packed == ["assets/app-1a2b.js.gz", "index.html.gz"]
    first = (built / "assets" / "app-1a2b.js.gz").read_bytes()
    dashboard_build.compress(built)
    assert (built / "assets" / "app-1a2b.js.gz").read_bytes() == first
    assert gzip.decompress(first).decode() == SCRIPT


async def test_a_script_goes_out_compressed_to_whom_takes_it(http: httpx.AsyncClient, built: Path) -> None:
    answer = await http.get("/assets/app-1a2b.js", headers=GZIP)
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert int(answer.headers["content-length"]) == (built / "assets" / "app-1a2b.js.gz").stat().st_size
    assert "immutable" in answer.headers["cache-control"]
    assert answer.text == SCRIPT  # httpx has unpacked it


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "gzip;q=0, *"])
async def test_it_goes_out_plain_to_whom_does_not(http: httpx.AsyncClient, accepted: str) -> None:
    answer = await http.get("/assets/app-1a2b.js", headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"  # a cache must not hand this form to everybody
    assert answer.text == SCRIPT


@pytest.mark.parametrize("path", ["/", "/exceptions", "/transactions/TX1"])
async def test_the_page_is_compressed_on_every_route(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers=GZIP)
    assert (answer.headers["content-encoding"], answer.headers["cache-control"]) == ("gzip", "no-cache")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text == PAGE


async def test_each_form_is_confirmed_by_its_own_tag(http: httpx.AsyncClient) -> None:
    tags = {}
    for name, headers in (("plain", {}), ("packed", GZIP)):
        first = await http.get("/transactions", headers=headers)
        tags[name] = first.headers["etag"]
        again = await http.get("/transactions", headers={**headers, "If-None-Match": tags[name]})
        assert (again.status_code, again.content, again.headers["vary"]) == (304, b"", "Accept-Encoding")
    assert tags["plain"] != tags["packed"]
    assert (await http.get("/transactions", headers={**GZIP, "If-None-Match": tags["plain"]})).status_code == 200


@pytest.mark.parametrize("path", ["/", "/live", "/transactions/T1.2", "/transactions/a%2Fb", "/signed-out", "/rules"])
async def test_the_dashboard_s_own_addresses_give_its_page(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.text) == (200, PAGE)


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/summary",
        "/-/routes",
        "/-/healthz",
        "//transactions",
        "/%2Fapi/v1",
        "/./api/v1",
        "/nothing",
        "/api",
        "/x/live",
    ],
)
async def test_no_other_address_gives_a_page(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(f"https://console{path}", headers={"Accept": "text/html"})
    assert answer.status_code == 404


def test_the_pages_are_those_that_the_dashboard_routes() -> None:
    routes = (dashboard_build.dashboard_dir() / "src" / "app" / "router.tsx").read_text()
    named = {path.split("/")[0] for path in re.findall(r'path: "/?([^"]*)"', routes)}
    assert named | {"signed-out"} == PAGES


async def test_small_files_and_fonts_are_served_as_they_are(http: httpx.AsyncClient) -> None:
    for path in ("/assets/small-1a2b.js", "/assets/plex-1a2b.woff2"):
        answer = await http.get(path, headers=GZIP)
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers, path


async def test_a_compressed_form_is_no_file_of_its_own(http: httpx.AsyncClient) -> None:
    assert (await http.get("/assets/app-1a2b.js.gz", headers=GZIP)).status_code == 404


async def test_head_tells_the_same_as_get(http: httpx.AsyncClient) -> None:
    head, get = [await http.request(method, "/assets/app-1a2b.js", headers=GZIP) for method in ("HEAD", "GET")]
    assert head.content == b""
    for name in ("content-encoding", "content-length", "etag", "vary"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True),
        ("GZIP ; Q=0.5", True),
        ("br;q=1, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0.0", False),
        ("gzip;q=much", False),
        ("identity", False),
        ("x-gzip-not", False),
        ("", False),
    ],
    ids=lambda value: str(value) or "nothing",
)
def test_accept_encoding_is_read_by_name_and_weight(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes
