"""The oracle and the engine read the same configurations and records, and say the same of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cluster.oracle.records import LogRecord
from sources.config.problems import InvalidConfigError
from tests.oracle.mapping.engine import ARRIVAL, by_engine, by_oracle

CODES = ["EUR", "JPY", "KWD", "CLF", "INR", "ITL"]


def body_of(source, key="txn_id"):
    recon = {"version": 1, "reconciliations": {"r": {"key": key, "sources": {"S": {"topic": "t", **source}}}}}
    return json.dumps(recon, ensure_ascii=False)


def compare(source, records, key="txn_id"):
    body = body_of(source, key)
    try:
        engine = by_engine(body, records)
    except InvalidConfigError:
        assume(False)
    for record, expected in zip(records, engine, strict=True):
        assert by_oracle(body, record) == expected, record


def record_of(tree, **around):
    return LogRecord("t", 0, 0, ARRIVAL, tree.encode() if isinstance(tree, str) else tree, **around)


FIXED = {
    "txn_id": {"const": "T"},
    "amount": {"const": "1"},
    "currency": {"const": "EUR"},
    "status": {"const": "SUCCESS"},
    "event_time": {"const": "1790000000000", "format": "epoch_ms"},
}

# --- amounts

DIGITS = st.text("0123456789", min_size=1, max_size=6)
NUMBER = st.one_of(
    DIGITS,
    st.builds("{}.{}".format, DIGITS, st.text("0123456789", max_size=4)),
    st.builds("{},{}".format, DIGITS, st.text("0123456789", max_size=4)),
    st.builds("{}.{}{}".format, DIGITS, st.integers(0, 30).map("0".__mul__), st.sampled_from(["", "1"])),
    st.sampled_from(
        ["1,234.50", "1.234,50", "12,34,567.89", "1 234,50", "1\u202f234", "1'234.5", "1_234", "1,23", ".5", "5.", "."]
    ),
    st.sampled_from(["999999999999999", "1000000000000000", "1000000000000001", "9223372036854775807", "1" * 41]),
    st.sampled_from(["1e2", "1.5E+2", "1e-2", "0e5", "1e400", "NaN", "\u0663", "\u00b2"]),
)
BESIDE = st.sampled_from(
    ["", "", "", " ", "-", "+", "\u2212", "€", "EUR", "JPY", "$", "\xa0", "(", ")", "- ", " €", "x"]
)
AMOUNT_TEXT = st.builds(lambda a, b, n, c, d: a + b + n + c + d, BESIDE, BESIDE, NUMBER, BESIDE, BESIDE)
JSON_NUMBER = st.one_of(
    st.integers(-(10**16), 10**16).map(str),
    st.decimals(-(10**6), 10**6, places=2).map(str),
    st.sampled_from(["1e2", "1.5E+2", "1e-2", "-0.0", "0.10", "12.500", "1e999", "123456789012345678901234567890"]),
)
SCALAR = st.one_of(AMOUNT_TEXT.map(json.dumps), JSON_NUMBER, st.sampled_from(["null", "true", '""', "{}", "[1]"]))
AMOUNT = st.fixed_dictionaries(
    {"unit": st.sampled_from(["major", "minor"])},
    optional={
        "sign": st.sampled_from(["keep", "abs", "invert"]),
        "decimal": st.sampled_from([".", ","]),
        "group": st.sampled_from([",", ".", " ", "'", "_"]),
        "trim": st.just(True),
        "normalize": st.just(True),
        "exponent": st.sampled_from([{"JPY": 2}, {"EUR": 3, "KWD": 2}, {"EUR": 0}]),
    },
)
PLACES = st.one_of(
    st.just({"path": "a"}),
    st.just({"path": ["b", "a"]}),
    st.just({"debit": "a", "credit": "b"}),
    st.just({"debit": "a"}),
    st.just({"path": "a", "default": "7.25"}),
    st.just({"path": "a", "values": {"5": ["five"], "1,5": ["1.5"]}, "otherwise": "reject"}),
    st.just({"path": "a", "indicator": {"path": "w", "debit": ["D"]}}),
    st.just({"path": "a", "indicator": {"path": "w", "debit": ["D"], "credit": ["C"]}}),
    st.just({"join": ["a", "b"], "with": "."}),
    st.just({"const": "1.5"}),
    st.just({"path": "a", "extract": "([0-9.,-]+)"}),
)


@settings(max_examples=100, deadline=None)
@given(
    options=AMOUNT,
    places=PLACES,
    rows=st.lists(st.tuples(SCALAR, SCALAR, st.sampled_from(["D", "C", "x", ""])), min_size=25, max_size=40),
    code=st.sampled_from(CODES),
    negative=st.booleans(),
)
def test_amounts(options, places, rows, code, negative):
    fields = {**FIXED, "amount": {**options, **places}, "currency": {"const": code}}
    records = [record_of(f'{{"a":{a},"b":{b},"w":{json.dumps(word)}}}') for a, b, word in rows]
    compare({"format": "json", "fields": fields, "negative": negative}, records)


# --- times

ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "America/Havana", "Africa/Cairo", "Asia/Beirut"]
ZONES += ["Australia/Lord_Howe", "Pacific/Apia", "+05:30", "-03:00"]
FORMS = ["%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%Y%m%d%H%M%S", "%Y%m%d%H%M%S%f", "%m/%d/%y %I:%M %p", "%d-%b-%Y %H:%M"]
FORMS += [
    "%d %B %Y %T",
    "%Y%j %H%M",
    "%a %e %b %Y %R %z",
    "%m%d%H%M%S",
    "%d%b%y",
    "%d/%m",
    "%d %b %H:%M",
    "%F",
    "%y%m%d",
]
FORMS += ["%H:%M %d.%m.%Y", "%Y-%m-%dT%H:%M:%S.%f%z", "%-d/%-m/%Y %H%%%M", "%j/%Y %H:%M:%S.%f"]


def written(moment, form):
    for directive, text in (("%-d", str(moment.day)), ("%-m", str(moment.month)), ("%e", f"{moment.day:2}")):
        form = form.replace(directive, text)
    return moment.strftime(form)


# Moments on the days when clocks change, midnights among them, and of any year.
DATES = ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-24", "2026-10-30", "2026-04-05"]
CHANGES = [datetime.fromisoformat(day) for day in DATES]
MOMENT = st.one_of(
    st.builds(
        lambda day, quarters: day + timedelta(minutes=15 * quarters), st.sampled_from(CHANGES), st.integers(0, 100)
    ),
    st.datetimes(datetime.fromisoformat("1999-12-01"), datetime.fromisoformat("2027-01-01")),
    st.datetimes(datetime.fromisoformat("0001-01-02"), datetime.fromisoformat("9999-12-30")),
)
OFFSET = st.sampled_from(["", "", "Z", "+05:30", "-0330", "+14", " +01:00", "z", "+00:00", "-12:00", "+5:30"])
ISO = st.builds(
    lambda moment, mark, fraction, offset: moment.strftime(f"%Y-%m-%d{mark}%H:%M:%S") + fraction + offset,
    MOMENT,
    st.sampled_from(["T", " ", "t"]),
    st.sampled_from(["", ".5", ".123", ",123456789", ".1239999", "."]),
    OFFSET,
)
ODD_TIME = st.sampled_from(
    [
        "2026-02-29T10:00:00Z",
        "2026-13-01",
        "20260301T10Z",
        "2026-03-01",
        "2026-03-01T24:00:00Z",
        "2026-03-01T23:59:60Z",
        "01/02/2026 10:00",
        "0",
        "-1",
        "1772366400",
        "1772366400.5",
        "1.7723664e9",
        "1772366400123",
        "1772366400123999",
        "46082.5",
        "46082.52083333334",
        "1e400",
        "9" * 17,
        "12345678901234567",
        "",
        "  2026-03-01T12:00:00Z  ",
        "29/02 10:00",
        "29 Feb 2028 10:00",
        "31/04/2026 10:00",
        "00-Mar-26 13:00 PM",
        "366/2028 10:00:00.5",
    ]
)
TIME = st.fixed_dictionaries(
    {"format": st.sampled_from(["iso", "iso", "epoch_s", "epoch_ms", "epoch_us", "excel", *FORMS])},
    optional={
        "zone": st.sampled_from(ZONES),
        "fold": st.sampled_from(["earlier", "later", "reject"]),
        "date_only": st.booleans(),
    },
)


@settings(max_examples=100, deadline=None)
@given(
    options=TIME,
    moments=st.lists(MOMENT, min_size=15, max_size=20),
    others=st.lists(ISO | ODD_TIME, min_size=10, max_size=20),
)
def test_times(options, moments, others):
    form = options["format"]
    texts = [written(moment, form if "%" in form else "%Y-%m-%d %H:%M:%S") for moment in moments] + others
    fields = {**FIXED, "event_time": {"path": "at", **options}}
    compare({"format": "json", "fields": fields}, [record_of(json.dumps({"at": text})) for text in texts])


# --- texts, conditions, keys, status and currency

WORD = st.one_of(
    st.sampled_from(
        ["abc", "ABC", " x ", "000", "0012", "00", "é", "e\u0301", "ß", "İ", "\xa0y\u2007", "\u3000", "a-17"]
    ),
    st.sampled_from(["", " ", "\u0000", "x" * 256, "x" * 257, "é" * 129, "12\n", "0x", "\ufeff", "ΑΣ", "A1 B2"]),
    st.text(max_size=5),
)
ANY = st.one_of(
    WORD.map(lambda word: json.dumps(word, ensure_ascii=False)),
    JSON_NUMBER,
    st.sampled_from(
        ["null", "true", "false", "[]", '{"a":"x"}', '["p",1]', '{"k":{"a":["q"]}}', "12345678901234567890"]
    ),
)
PATHS = st.sampled_from(
    ["a", "b", "c.a", "c.k.a[0]", "c[0]", "c[1]", "c", "$key", "$headers.h", "$topic", "$timestamp", "z"]
)
REGEXES = [
    "([0-9]+)",
    "^(.*)$",
    "([a-zA-Z]+)[0-9]",
    "x(y)?",
    "(?i)a(b+)c",
    r"(\S+)$",
    "^.(..)",
    "([a-z0-9]+)[^a-z0-9]+(?:[a-z0-9]+)",
]
TEXT = st.fixed_dictionaries(
    {},
    optional={
        "normalize": st.booleans(),
        "trim": st.booleans(),
        "extract": st.sampled_from(REGEXES),
        "upper": st.booleans(),
        "lower": st.booleans(),
        "strip_leading_zeros": st.booleans(),
        "values": st.sampled_from([{"M": ["abc", "ABC"], "N": ["0", "12"]}, {"Q": "x", "S": ["true", "é"]}]),
        "otherwise": st.sampled_from(["reject", "other"]),
        "default": st.sampled_from(["d", "0"]),
        "with": st.sampled_from(["", "-", " "]),
    },
)
SOURCE_OF_TEXT = st.one_of(
    PATHS.map(lambda path: {"path": path}),
    st.lists(PATHS, min_size=2, max_size=3, unique=True).map(lambda paths: {"path": paths}),
    st.lists(PATHS, min_size=2, max_size=3, unique=True).map(lambda paths: {"join": paths}),
    st.just({"const": "K"}),
)


def value_of(place, options):
    options = {name: one for name, one in options.items() if name != "with" or "join" in place}
    if options.get("upper"):
        options.pop("lower", None)
    if "values" not in options:
        options.pop("otherwise", None)
    return {**place, **options}


VALUE = st.builds(value_of, SOURCE_OF_TEXT, TEXT)
MESSAGE = st.builds(
    lambda a, b, c, key, header: record_of(
        f'{{"a":{a},"b":{b},"c":{c}}}', key=key, headers=[("g", b"1"), *([("h", header)] if header else [])]
    ),
    ANY,
    ANY,
    ANY,
    st.sampled_from([None, b"k1", b"\xff", b"", b"000"]),
    st.sampled_from([None, b"h1", b"\xff", b"abc"]),
)
MESSAGES = st.lists(MESSAGE, min_size=15, max_size=25)
TEXT_FIELDS = st.fixed_dictionaries(
    {"txn_id": VALUE},
    optional={
        "event_id": VALUE,
        "account_id": VALUE,
        "original_txn_id": VALUE,
        "attributes": st.fixed_dictionaries({"one": VALUE}, optional={"two": VALUE}),
        "fee": st.sampled_from([{"path": "a", "unit": "minor"}, {"const": "1"}]),
        "currency": st.sampled_from([{"path": "a", "default": "978"}, {"path": "b", "values": {"INR": ["abc", "0"]}}]),
        "status": st.sampled_from(
            [
                {"path": "a", "values": {"SUCCESS": ["abc"]}, "otherwise": "FAILED", "default": "PENDING"},
                {"path": "b", "values": {"SUCCESS": ["abc", "0", "1", "true"]}, "otherwise": "reject"},
            ]
        ),
    },
)
WHERE = st.lists(
    st.builds(
        lambda value, words, wanted: {**value, "in" if wanted else "not_in": words},
        VALUE,
        st.lists(st.sampled_from(["abc", "M", "x", "0", "true", "K", "d"]), min_size=1, max_size=4, unique=True),
        st.booleans(),
    ),
    max_size=2,
)
KEYS = st.sampled_from(["txn_id", ["original_txn_id", "txn_id"], ["account_id", "attributes.one"], "attributes.one"])


@settings(max_examples=100, deadline=None)
@given(fields=TEXT_FIELDS, where=WHERE, key=KEYS, messages=MESSAGES)
def test_texts_conditions_and_keys(fields, where, key, messages):
    source = {"format": "json", "fields": {**FIXED, **fields}}
    compare({**source, "where": where} if where else source, messages, key)


# --- envelopes and bytes

ROW = st.builds(lambda a, b: f'{{"id":{a},"amt":{b}}}', ANY, st.one_of(JSON_NUMBER, st.just('"AfQ="'), st.just("null")))
CONNECT = (
    '{"type":"struct","fields":[{"field":"before"},{"field":"after","type":"struct","fields":[{"field":"id"},{"field":"amt",'
    '"name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}]}]}'
)
CHANGE = st.builds(
    lambda op, row, before, form: form % f'{{"before":{before},"after":{row},"op":{op},"ts_ms":1}}',
    st.sampled_from(['"c"', '"r"', '"u"', '"d"', '"t"', '"m"', '"x"', "null", "1"]),
    st.one_of(ROW, st.sampled_from(["null", "[]", "1"])),
    st.one_of(st.just("null"), ROW),
    st.sampled_from(
        ["%s", '{"schema":null,"payload":%s}', f'{{"schema":{CONNECT},"payload":%s}}', '{"payload":%s}', "[%s]"]
    ),
)
CONNECT_ROW = st.builds(
    lambda row, amt: f'{{"schema":{{"type":"struct","fields":[{amt}]}},"payload":{row}}}',
    ROW,
    st.sampled_from(
        [
            '{"field":"amt","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}',
            '{"field":"amt","name":"io.debezium.time.Date"}',
            '{"field":"amt","type":"int64"}',
        ]
    ),
)
ODD_BYTES = st.sampled_from(
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b'{"id":1,"id":2}',
        b'{"id":NaN}',
        b"\xef\xbb\xbf{}",
        b'{"id":"\\ud800"}',
        None,
        b'\x00\x00\x00\x00\x07{"id":"x","amt":1}',
        b"\x00",
        b'{"id":"\xff"}',
        b" {} ",
        b'{"id":"x","amt":1}{}',
        b'{"id":01}',
    ]
)
ENVELOPED = {
    **FIXED,
    "txn_id": {"path": "id"},
    "amount": {"path": "amt", "unit": "major"},
    "attributes": {"whole": {"path": "amt"}},
}


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(CHANGE.map(str.encode) | ODD_BYTES, min_size=15, max_size=25))
def test_debezium(rows):
    compare({"format": "json", "envelope": "debezium", "fields": ENVELOPED}, [record_of(row) for row in rows])


ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "specversion": st.sampled_from(["1.0", "0.3"]),
        "id": st.sampled_from(["1", "é", ""]),
        "source": st.sampled_from(["/a", "urn:x"]),
        "type": st.just("t"),
        "subject": st.just("s"),
    },
)
COMPLETE = st.just({"specversion": "1.0", "id": "1", "source": "/a", "type": "t"})
DATA = st.one_of(
    st.builds(lambda row: f'"data":{row}', ROW),
    st.sampled_from(
        ['"data_base64":"eyJpZCI6IngiLCJhbXQiOjJ9"', '"data_base64":"?"', '"data":1,"data_base64":""', '"x":1']
    ),
)
STRUCTURED = st.builds(
    lambda kind, attributes, data: record_of(
        json.dumps(attributes)[:-1] + ("," if attributes else "") + data + "}",
        headers=[] if kind is None else [("content-type", kind)],
    ),
    st.sampled_from([None, b"application/cloudevents+json; charset=UTF-8", b"application/cloudevents"])
    | st.sampled_from(
        [b"application/cloudevents-batch+json", b"application/cloudevents+avro", b"application/json", b"\xff"]
    ),
    COMPLETE | ATTRIBUTES,
    DATA,
)
BINARY = st.builds(
    lambda attributes, body: record_of(
        body, headers=[("content-type", b"application/json"), *((f"ce_{k}", v.encode()) for k, v in attributes.items())]
    ),
    COMPLETE | ATTRIBUTES,
    ROW.map(str.encode) | ODD_BYTES,
)


@settings(max_examples=60, deadline=None)
@given(records=st.lists(STRUCTURED | BINARY, min_size=15, max_size=25))
def test_cloud_events(records):
    compare({"format": "json", "envelope": "cloudevents", "fields": ENVELOPED}, records)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW.map(str.encode) | ODD_BYTES | st.binary(max_size=12), min_size=15, max_size=25))
def test_bytes(rows):
    compare({"format": "json", "fields": ENVELOPED}, [record_of(row) for row in rows])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(CONNECT_ROW.map(str.encode), min_size=15, max_size=25))
def test_connect_without_an_envelope(rows):
    fields = {
        **FIXED,
        "txn_id": {"path": "payload.id"},
        "amount": {"path": "payload.amt", "unit": "major", "default": "1"},
        "attributes": {"whole": {"path": "payload"}},
    }
    compare({"format": "json", "fields": fields}, [record_of(row) for row in rows])
