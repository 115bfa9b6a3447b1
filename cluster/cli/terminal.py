"""Output to a terminal: data is shown as text, never taken for markup or sent as a control sequence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

# C0 and C1 controls but the newline, marks that reorder or hide text, line separators, and lone surrogates.
_UNSAFE = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: object) -> str:
    """Text whose control, bidirectional and invisible characters are replaced, one for one, by visible ones."""
    return _UNSAFE.sub(_sign, str(text))


def one_line(text: object) -> str:
    """The same on one line: where lines are told apart by how they begin, data cannot begin one."""
    return visible(text).replace("\n", "\u240a")


def _sign(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures of Unicode
    return "\u2421" if code == 0x7F else "\ufffd"


def styled(template: str, *values: object) -> Text:
    """Markup of our own with values in its {} places; no value is taken for markup."""
    return Text.from_markup(template.format(*(escape(visible(value)) for value in values)), emoji=False)


class SafeConsole(Console):
    """A console on which plain strings are text: markup and emoji codes need `styled`; control characters are shown."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of a renderable; those that hold text hold no control character."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
