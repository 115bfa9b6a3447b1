"""Data on a terminal: shown whole, never as markup, never as a control sequence."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from cluster.cli.terminal import SafeConsole, styled, visible

HOSTILE = ["[/red]", "[bold]x", ":smile:", "\x1b[2J", "\x1b]8;;http://x\x07", "\u202eabc", "=cmd()", "\ud800", "a\rb"]


@pytest.mark.parametrize("data", HOSTILE)
def test_data_is_text_however_it_is_printed(data):
    for shape in (data, styled("[red]{}[/]", data), _table(data)):
        out = io.StringIO()
        SafeConsole(file=out, width=100).print(shape)
        printed = out.getvalue()
        assert not any(char in printed for char in "\x1b\x07\r\u202e\ud800")
        if data == visible(data):
            assert data in printed


def test_escape_sequences_become_visible():
    assert visible("\x1b[2J") == "\u241b[2J"


def _table(data):
    table = Table(box=None)
    table.add_column("id")
    table.add_row(data)
    return table
