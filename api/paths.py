"""Paths as they were sent: a segment is decoded once it is known to be one, so that an id may hold any character.

The ids of transactions are their banks' own: `2026/11` or `count`. Servers decode a path before it is routed, and then
`%2F` is a slash like any other. So routes match the path as sent: `a%2Fb` is one segment and gives the id `a/b`, and
`%63ount` is no literal `count` but a segment that gives this id.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope


def path_as_sent(scope: Scope) -> str:
    """The path of a request, percent-encoded as the client sent it; encoded anew where a server keeps no raw path."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"], safe="/") if raw is None else raw.partition(b"?")[0].decode("latin-1")


class Segment(Convertor[str]):
    """One segment of a path as sent, decoded: `{txn_id:segment}`. Every parameter of a guarded route is one."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        """Decode; what is not UTF-8 becomes U+FFFD, as in the paths that servers decode."""
        return unquote(value)

    def to_string(self, value: str) -> str:
        """Encode."""
        return quote(value, safe="")


register_url_convertor("segment", Segment())
