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
        assume(False)  # noqa: FBT003
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
BESIDE = st.sampled_from(["", "", "", " ", "-", "+", "\u2212", "€", "EUR", "JPY", "$", "\xa0", "(", ")", "- ", " €", "x"])
AMOUNT_TEXT = st.builds(lambda a, b, n, c, d: a + b + n + c + d, BESIDE, BESIDE, NUMBER, BESIDE, BESIDE)
JSON_NUMBER = st.one_of(
    st.integers(-(10**16), 10**16).map(str),
    st.decimals(-(10**6), 10**6, places=2).map(str),
    st.sampled_from(["1e2", "1.5E+2", "1e-2", "-0", "0.10", "12.500", "1e999", "123456789012345678901234567890"]),
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


@settings(max_examples=300, deadline=None)
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
FORMS += ["%d %B %Y %T", "%Y%j %H%M", "%a %e %b %Y %R %z", "%m%d%H%M%S", "%d%b%y", "%d/%m", "%d %b %H:%M", "%F", "%y%m%d"]
FORMS += ["%H:%M %d.%m.%Y", "%Y-%m-%dT%H:%M:%S.%f%z", "%-d/%-m/%Y %H%%%M", "%j/%Y %H:%M:%S.%f"]


def written(moment, form):
    for directive, text in (("%-d", str(moment.day)), ("%-m", str(moment.month)), ("%e", f"{moment.day:2}")):
        form = form.replace(directive, text)
    return moment.strftime(form)


# Moments on the days when clocks change, midnights among them, and of any year.
CHANGES = [datetime(2026, 3, 29), datetime(2026, 10, 25), datetime(2026, 3, 8), datetime(2026, 11, 1)]  # noqa: DTZ001
CHANGES += [datetime(2026, 4, 24), datetime(2026, 10, 30), datetime(2026, 4, 5), datetime(2011, 12, 30)]  # noqa: DTZ001
MOMENT = st.one_of(
    st.builds(lambda day, quarters: day + timedelta(minutes=15 * quarters), st.sampled_from(CHANGES), st.integers(0, 100)),
    st.datetimes(datetime(1999, 12, 1), datetime(2027, 1, 1)),  # noqa: DTZ001
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001
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
    ["2026-02-29T10:00:00Z", "2026-13-01", "20260301T10Z", "2026-03-01", "2026-03-01T24:00:00Z", "2026-03-01T23:59:60Z"]
    + ["01/02/2026 10:00", "0", "-1", "1772366400", "1772366400.5", "1.7723664e9", "1772366400123", "1772366400123999"]
    + ["46082.5", "46082.52083333334", "1e400", "9" * 17, "12345678901234567", "", "  2026-03-01T12:00:00Z  "]
    + ["29/02 10:00", "29 Feb 2028 10:00", "31/04/2026 10:00", "00-Mar-26 13:00 PM", "366/2028 10:00:00.5"]
)
TIME = st.fixed_dictionaries(
    {"format": st.sampled_from(["iso", "iso", "epoch_s", "epoch_ms", "epoch_us", "excel", *FORMS])},
    optional={
        "zone": st.sampled_from(ZONES),
        "fold": st.sampled_from(["earlier", "later", "reject"]),
        "date_only": st.booleans(),
    },
)


@settings(max_examples=300, deadline=None)
@given(options=TIME, moments=st.lists(MOMENT, min_size=15, max_size=20), others=st.lists(ISO | ODD_TIME, min_size=10, max_size=20))
def test_times(options, moments, others):
    form = options["format"]
    texts = [written(moment, form if "%" in form else "%Y-%m-%d %H:%M:%S") for moment in moments] + others
    fields = {**FIXED, "event_time": {"path": "at", **options}}
    compare({"format": "json", "fields": fields}, [record_of(json.dumps({"at": text})) for text in texts])
