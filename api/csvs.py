"""CSV exports: streamed, bounded, and safe to open in a spreadsheet."""

from __future__ import annotations

import contextlib
import csv
import io
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.problems import TooManyError

if TYPE_CHECKING:
    from api.caller import Caller

CHUNK_ROWS = 1_000

# OWASP, "CSV Injection": a cell that starts with one of these may be run as a formula; an apostrophe makes it text.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def defuse(cell: object) -> object:
    """The cell, with a leading apostrophe when a spreadsheet would run it. Integers are left alone.

    A cell that begins with an apostrophe gets one too, so that taking one off always gives what was there.
    """
    if isinstance(cell, str) and (cell.startswith("'") or cell.lstrip(" ").startswith(_FORMULA_STARTS)):
        return f"'{cell}"
    return cell


def csv_chunk(rows: Sequence[Sequence[object]]) -> bytes:
    """Rows as RFC 4180 text."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([defuse(cell) for cell in row] for row in rows)
    return out.getvalue().encode()


class ExportSlots:
    """How many exports a caller may run at the same time, on this replica."""

    def __init__(self, per_caller: int) -> None:
        self._per_caller = per_caller
        self._running: Counter[str] = Counter()

    def take(self, subject: str) -> None:
        """Take a slot. Raises TooManyError when the caller has none left."""
        if self._running[subject] >= self._per_caller:
            raise TooManyError(retry_after_s=10)
        self._running[subject] += 1

    def give_back(self, subject: str) -> None:
        """Return a slot."""
        self._running[subject] -= 1
        if not self._running[subject]:
            del self._running[subject]


class Download(StreamingResponse):
    """A CSV that is streamed. What it holds (a slot, a query) is given back by `close`, and when it ends, however."""

    def __init__(self, body: AsyncGenerator[bytes], filename: str, release: Callable[[], None]) -> None:
        self._body = body
        self._release = release
        self._closed = False
        super().__init__(
            body,
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.close()

    async def close(self) -> None:
        """Once is enough; more is harmless. A download that is never sent has to be closed by hand."""
        if not self._closed:
            self._closed = True
            self._release()
            await self._body.aclose()


async def stream_csv(
    slots: ExportSlots, caller: Caller, rows: AsyncGenerator[Sequence[Sequence[object]]], filename: str
) -> Download:
    """Batches of rows as a download, which holds a slot until it is closed.

    The first batch is asked for before anything is answered, so that what the query refuses is still refused.
    """
    slots.take(caller.subject)
    body = _encoded(rows)
    try:
        await anext(body)
    except BaseException:
        slots.give_back(caller.subject)
        raise
    return Download(body, filename, lambda: slots.give_back(caller.subject))


async def _encoded(rows: AsyncGenerator[Sequence[Sequence[object]]]) -> AsyncGenerator[bytes]:
    """The rows as text. The first item is empty and says that the query stands: from then on closing ends the query."""
    async with contextlib.aclosing(rows) as batches:
        first = await anext(batches)
        yield b""
        yield csv_chunk(first)
        async for batch in batches:
            yield csv_chunk(batch)
