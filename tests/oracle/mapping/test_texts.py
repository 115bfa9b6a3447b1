"""Places, text options, words and defaults, by hand-written values."""

from __future__ import annotations

import pytest

from cluster.oracle.mapping import configuration, texts
from cluster.oracle.mapping.texts import Message, Unlisted
from cluster.oracle.mapping.values import Number, compact_json, of_float, of_unscaled, steps, text_of
from cluster.oracle.records import LogRecord

TREE = {
    "a": " Ab1 ",
    "n": Number("1.50"),
    "t": True,
    "e": "",
    "blank": "\xa0",
    "zeros": "000",
    "id": "0012",
    "list": ["x", {"y": [Number("7")]}],
}
RECORD = LogRecord("topic", 0, 0, 123, b"", key=b"K", headers=[("h", b"one"), ("h", b"two"), ("bin", b"\xff")])


def read(**node):
    return texts.read(Message(RECORD, TREE), configuration._value(node)).text


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ({"path": "a"}, " Ab1 "),
        ({"path": "a", "trim": "true"}, "Ab1"),
        ({"path": "a", "trim": "true", "upper": "true"}, "AB1"),
        ({"path": "a", "lower": "true", "extract": "([A-Z].)"}, "ab"),
        ({"path": "a", "extract": "([0-9]{2})"}, None),
        ({"path": "n"}, "1.50"),
        ({"path": "t"}, "true"),
        ({"path": "zeros", "strip_leading_zeros": "true"}, "0"),
        ({"path": "id", "strip_leading_zeros": "true"}, "12"),
        ({"path": "list[1].y[0]"}, "7"),
        ({"path": "list[1]"}, '{"y":[7]}'),
        ({"path": "list[2]"}, None),
        ({"path": "list.x"}, None),
        ({"path": "a..b"}, None),
        ({"path": "$key"}, "K"),
        ({"path": "$topic"}, "topic"),
        ({"path": "$timestamp"}, "123"),
        ({"path": "$headers.h"}, "two"),
        ({"path": "$headers.bin"}, None),
        ({"path": "$headers.none"}, None),
        ({"path": ["e", "blank", "id"]}, "\xa0"),
        ({"path": ["e", "blank", "id"], "trim": "true"}, "0012"),
        ({"path": ["e", {"path": "id"}]}, "0012"),
        ({"path": "blank", "normalize": "true"}, " "),
        ({"join": ["id", "n"]}, "0012 1.50"),
        ({"join": ["a", "id"], "with": "", "trim": "true"}, "Ab10012"),
        ({"join": ["id", "e"]}, None),
        ({"const": "EUR"}, "EUR"),
        ({"path": "id", "values": {"TWELVE": ["0012", "12"]}}, "TWELVE"),
        ({"path": "id", "values": {"X": "y"}}, "0012"),
        ({"path": "id", "values": {"X": "y"}, "otherwise": "Z"}, "Z"),
        ({"path": "e", "values": {"X": "y"}, "otherwise": "Z", "default": "D"}, "D"),
        ({"path": "e", "values": {"X": "y"}, "otherwise": "reject"}, None),
        ({"path": "id", "values": {"": "0012"}, "default": "D"}, "D"),  # the word means nothing
    ],
)
def test_a_value(node, text):
    assert read(**node) == text


def test_a_word_in_no_list_may_be_refused():
    with pytest.raises(Unlisted):
        read(path="id", values={"X": "y"}, otherwise="reject", default="D")


def test_a_dollar_is_the_end_and_not_a_line_feed_before_it():
    line = Message(RECORD, {"a": "12\n"})
    assert texts.read(line, configuration._value({"path": "a", "extract": "([0-9]+)$"})).text is None
    assert texts.read(line, configuration._value({"path": "a", "extract": "([0-9$]+)"})).text == "12"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b[0].c", ["a", "b", 0, "c"]),
        ("a[0][1]", ["a", 0, 1]),
        ("@Ccy", ["@Ccy"]),
        ("", None),
        ("a.", None),
        (".a", None),
        ("a[0]b", None),
        ("[0]", None),
        ("a.[0]", None),
        ("a[x]", None),
    ],
)
def test_paths(path, found):
    assert steps(path) == found


def test_numbers_keep_every_digit():
    assert of_float(0.1) == Number("0.1")
    assert of_float(1e16) == Number("10000000000000000")
    assert of_float(1e-7) == Number("0.0000001")
    assert of_float(5.0) == Number("5")
    assert of_float(float("nan")) == Number("nan")
    assert of_unscaled(-5, 2) == Number("-0.05")
    assert of_unscaled(12_345, 2) == Number("123.45")
    assert of_unscaled(5, -2) == Number("500")
    assert compact_json({"é": [Number("1.0"), None, True, 'a"b', b"x"]}) == '{"é":[1.0,null,true,"a\\"b","x"]}'
    assert text_of(b"\xff") is None
