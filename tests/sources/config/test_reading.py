"""recon.yaml: what is taken, and that every mistake is told with its line and what would be right."""

from decimal import Decimal

import pytest

from sources.config import InvalidConfigError, built_in, json_schema, parse

HEAD = "version: 1\nreconciliations:\n  payments:\n    sources:\n"


def problems(text):
    with pytest.raises(InvalidConfigError) as caught:
        parse(text, "recon.yaml")
    return str(caught.value).splitlines()


def test_without_a_file_there_are_the_three_canonical_sources():
    assert [(one.name, one.topic, one.fields) for one in built_in().default.sources.values()] == [
        ("CORE", "core_txns", None),
        ("GATEWAY", "gateway_txns", None),
        ("MOBILE", "mobile_txns", None),
    ]


def test_all_mistakes_are_told_at_once_with_line_and_what_is_right():
    found = problems(
        HEAD + "      A: {topik: a, format: jsn}\n      a: {topic: b}\n      a: {topic: b}\n"
        "    rules: {match_window: 30}\n"
    )
    assert [line.split(":")[1] for line in found] == ["5", "5", "5", "6", "7", "8"]
    assert "unknown key 'topik'; did you mean topic?" in found[1]
    assert "did you mean json?" in found[2]
    assert "differs from A only in case" in found[3]
    assert "stands there twice, first in line 6" in found[4]
    assert "30 has no unit" in found[5]


def test_scalars_are_what_was_written_and_not_what_yaml_takes_them_for():
    fields = (
        "{txn_id: {path: id}, amount: {path: a, unit: minor}, currency: {const: 978}, "
        "status: {path: rc, values: {SUCCESS: [00, 010], FAILED: NO}}, event_time: {path: t}}"
    )
    source = parse(f"{HEAD}      A: {{topic: a, format: json, fields: {fields}}}\n", "f").default.sources["A"]
    assert source.fields.currency.const == "EUR"
    assert source.fields.status.words == {"00": "SUCCESS", "010": "SUCCESS", "NO": "FAILED"}


def test_a_topic_twice_is_wrong_unless_where_tells_records_apart():
    both = HEAD + "      A: {topic: t%s}\n      B: {topic: t%s}\n"
    where = ", where: {path: type, in: [%s]}"
    assert "both read topic t" in problems(both % ("", ""))[0]
    assert "both read topic t" in problems(both % (where % "CR, DR", where % "DR"))[0]
    assert len(parse(both % (where % "CR", where % "DR"), "f").default.sources) == 2


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ('{path: t, format: "%d/%m/%Y", zone: UTC}', "tells no time of day"),
        ('{path: t, format: "%d/%m/%Y %H:%M"}', "zone is missing"),
        ('{path: t, format: "%d/%m/%Y %I:%M", zone: UTC}', "%I and %p need each other"),
        ('{path: t, format: "%D %H:%M", zone: UTC}', "write %m/%d/%y or %d/%m/%y"),
        ("{path: t, zone: Kolkata}", "did you mean Asia/Kolkata?"),
        ("{path: t, format: epoch}", "did you mean epoch_"),
    ],
    ids=["no time", "no zone", "half a day", "month first", "zone's name", "format's name"],
)
def test_times_that_would_be_guesses_are_refused(time, told):
    fields = (
        "{txn_id: {path: id}, amount: {path: a, unit: minor}, currency: {const: EUR}, "
        f"status: {{const: SUCCESS}}, event_time: {time}}}"
    )
    assert any(told in line for line in problems(f"{HEAD}      A: {{topic: a, format: json, fields: {fields}}}\n"))


SOURCE = (
    "      A: {{{source}, fields: {{txn_id: {{{id}}}, amount: {{{amount}}}, currency: {{const: EUR}}, "
    "status: {{const: SUCCESS}}, event_time: {{{time}}}}}}}\n"
)
PLACES = {"id": "path: a", "amount": "path: b, unit: major", "time": "path: c"}


@pytest.mark.parametrize(
    ("source", "places", "told"),
    [
        ("topic: a, format: json", {"id": "at: [0, 5]"}, "txn_id.at: means nothing for json"),
        ("topic: a, format: avro", {"id": "column: 0"}, "txn_id.column: means nothing for avro"),
        ("topic: a, format: json", {"id": "path: [a, b..c]"}, "txn_id.path[1]: a name is missing after the dot"),
        ("path: a, format: jsonl", {"id": "path: $key"}, "'$key' is Kafka's, and the source reads files"),
        ("path: a, format: fixed", {"id": "path: a"}, "'a' is a name, and rows of fixed width have none"),
        ("path: a, format: fixed", {"id": "column: 1"}, "txn_id.column: means nothing for fixed"),
        ("path: a, format: csv, heading: false", {}, "'a' is a heading, and there is none; right is column: N"),
        ("path: a, format: csv", {"id": "at: [0, 5]"}, "txn_id.at: means nothing for csv"),
        ("path: a, format: mt940", {"id": "column: 0"}, "txn_id.column: means nothing for mt940"),
        ("path: a, format: csv", {"amount": "const: abc, unit: major"}, "amount.const: 'abc' is no amount"),
        ("path: a, format: csv", {"time": "const: yesterday"}, "event_time.const: 'yesterday' is no time"),
        ("path: a, format: csv, delimiter: '||'", {}, "'||' is no delimiter; right is one character"),
        (
            "topic: a, format: json, where: {path: t, in: [x], values: {x: [1]}, otherwise: reject}",
            {},
            "where.otherwise: reject means nothing in a condition",
        ),
        ("path: a, format: csv", {"time": "path: c, zone: IST"}, "IANA database; right are names as Asia/Kolkata"),
    ],
)
def test_what_could_never_be_read_is_told(source, places, told):
    text = HEAD + SOURCE.format(source=source, **{**PLACES, **places})
    assert any(told in line and line.startswith("recon.yaml:5: ") for line in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("source", "places"),
    [
        ("topic: a, format: json", {"id": "path: $key", "amount": "const: '1.50', unit: major"}),
        ("topic: a, format: json", {"amount": "path: b, unit: major, indicator: {path: c, debit: [a..b]}"}),
        ("path: a, format: csv", {"id": "path: a..b", "amount": "column: 1, unit: major"}),
        ("path: a, format: parquet", {"id": "column: 0"}),
        ("path: a, format: csv, heading: false", {name: f"{'column: 0'}{place[7:]}" for name, place in PLACES.items()}),
        ("path: a, format: fixed", {"id": "at: [0, 1]", "amount": "at: [1, 2], unit: major", "time": "at: [2, 9]"}),
        ("topic: a, format: json", {"id": "path: a, values: {path: [b..c], at: [x]}"}),
        ("topic: a, format: json", {"time": "const: '2026-03-01T12:00:00Z'"}),
    ],
)  # fmt: skip
def test_what_can_be_read_is_taken(source, places):
    assert parse(HEAD + SOURCE.format(source=source, **{**PLACES, **places}), "f").default.sources["A"].fields


def test_tolerances_are_exact_decimals_of_major_units():
    rules = parse(
        HEAD + "      A: {topic: a}\n    rules: {match_window: 30s, time_tolerance: 3d, "
        "tolerances: {EUR: {absolute: 0.05, percent: 0.1}, default: {absolute: 1}}}\n",
        "f",
    ).default.rules
    assert rules.tolerances["EUR"].absolute == Decimal("0.05")
    assert rules.time_tolerance_ms == 3 * 86_400_000
    rule_set = rules.to_rule_set(("A",))
    assert (rule_set.tolerance("EUR").absolute_minor, rule_set.tolerance("EUR").bps) == (5, 10)
    assert rule_set.tolerance("JPY").absolute_minor == 1
    assert rule_set.tolerance("KWD").absolute_minor == 1_000


@pytest.mark.parametrize("text", ["", "- a", "a: [", "version: 2\nreconciliations: {}", "\x00", "&a [*a]"], ids=repr)
def test_what_is_no_configuration_is_told(text):
    assert problems(text)


def test_the_schema_knows_the_keys_that_reading_knows():
    sources = json_schema()["properties"]["reconciliations"]["additionalProperties"]["properties"]["sources"]
    assert {"topic", "path", "fields", "where"} <= set(sources["additionalProperties"]["properties"])
