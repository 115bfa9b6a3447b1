"""BAI2: fields, continuations, signs and control totals."""

from __future__ import annotations

import pytest

from sources.files.errors import UnusableFileError
from tests.sources.files.samples import column, opened, reasons, rows

HEAD = "01,BANK,CUST,240302,0600,F1,80,1,2/\n02,CUST,BANK,1,240301,,USD,2/\n"


def bai2(*details: str, control: int, rows_: int, account: str = "03,ACC1,,010,1000,,,015,{},,/") -> bytes:
    """One account; `rows_` counts its physical records."""
    body = "\n".join([account, *details, f"49,{control},{rows_}/"])
    return f"{HEAD}{body}\n98,{control},1,{rows_ + 2}/\n99,{control},1,{rows_ + 4}/\n".encode()


GOOD = bai2(
    "16,165,500,0,BR-1,CR-1,PAYROLL, MARCH/APRIL",
    "88,SECOND LINE",
    "16,475,20,Z,,CR-2,/",
    control=1000 + 1480 + 500 + 20,
    rows_=5,
    account="03,ACC1,,010,1000,,,015,1480,,/",
)


def test_an_entry_has_its_fields_and_brings_the_canonical_ones():
    file = opened(GOOD, "bai2")
    expected = {
        "amount": ["5.00", "-0.20"],
        "currency": ["USD", "USD"],
        "status": ["SUCCESS", "SUCCESS"],
        "event_time": ["2024-03-01"] * 2,
        "type_code": ["165", "475"],
        "funds_type": ["0", "Z"],
        "bank_reference": ["BR-1", None],
        "customer_reference": ["CR-1", "CR-2"],
        "text": ["PAYROLL, MARCH/APRIL SECOND LINE", None],
        "account": ["ACC1", "ACC1"],
        "group_date": ["2024-03-01"] * 2,
    }
    assert {path: column(file, path) for path in expected} == expected
    assert rows(file) == [4, 6]
    first = next(iter(file.batches()))
    assert first.raw(0) == b"16,165,500,0,BR-1,CR-1,PAYROLL, MARCH/APRIL\n88,SECOND LINE"


@pytest.mark.parametrize(
    ("funds", "width"),
    [("S,100,200,200", 4), ("V,240305,1200", 3), ("D,2,0,300,1,200", 6), ("", 1), ("1", 1)],
    ids=["three availabilities", "value dated", "distributed", "none", "one day"],
)
def test_every_funds_type_has_its_own_fields(funds: str, width: int):
    assert funds.count(",") + 1 == width
    content = bai2(f"16,165,500,{funds},BR,CR,TEXT/", control=500, rows_=3, account="03,ACC1,USD/")
    file = opened(content, "bai2")
    assert column(file, "bank_reference") == ["BR"]
    assert column(file, "customer_reference") == ["CR"]
    assert column(file, "text") == ["TEXT"]


def test_fields_go_on_in_a_continuation():
    content = bai2("16,165,500,S,100,200/", "88,200,BR,CR,TEXT/", control=500, rows_=4, account="03,ACC1,USD/")
    assert column(opened(content, "bai2"), "customer_reference") == ["CR"]


def test_the_summary_of_an_account_goes_on_in_a_continuation():
    content = bai2("88,015,1500,,/", "16,165,500,,,,/", control=3000, rows_=4, account="03,ACC1,EUR,010,1000,,/")
    file = opened(content, "bai2")
    assert column(file, "currency") == ["EUR"]
    assert str(file.statements[0].closing) == "15.00"


def test_the_currency_says_how_many_decimals_an_amount_has():
    yen = bai2("16,165,500,,,,/", control=500, rows_=3, account="03,ACC1,JPY/")
    dinar = bai2("16,165,500,,,,/", control=500, rows_=3, account="03,ACC1,KWD/")
    assert column(opened(yen, "bai2"), "amount") == ["500"]
    assert column(opened(dinar, "bai2"), "amount") == ["0.500"]
    unknown = opened(bai2("16,165,500,,,,/", control=500, rows_=3, account="03,ACC1,QQQ/"), "bai2")
    assert reasons(unknown) == [(4, "currency 'QQQ' is not in ISO 4217, so the decimals of its amounts are unknown")]


def test_messages_without_money_are_skipped_and_loans_rejected():
    content = bai2("16,890,,,,,NOTE/", "16,720,7,,,,LOAN/", control=7, rows_=4, account="03,ACC1,USD/")
    file = opened(content, "bai2")
    assert reasons(file) == [(5, "type code '720' says neither credit nor debit")]
    assert file.skipped == {"message without money (type 890)": 1}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ((b"49,3000,5/", b"49,3001,5/"), "record 49 account control total is 3001, it should be 3000"),
        ((b"49,3000,5/", b"49,3000,4/"), "record 49 number of records is 4, it should be 5"),
        ((b"98,3000,1,7/", b"98,3000,2,7/"), "record 98 number of accounts is 2, it should be 1"),
        ((b"98,3000,1,7/", b"98,3000,1,8/"), "record 98 number of records is 8, it should be 7"),
        ((b"99,3000,1,9/", b"99,2999,1,9/"), "record 99 control total is 2999, it should be 3000"),
        ((b"99,3000,1,9/", b"99,3000,1,10/"), "record 99 number of records is 10, it should be 9"),
        ((b"99,3000,1,9/\n", b""), "has no file trailer"),
        ((b"16,165,500", b"16,165,5.00"), "'5.00' is no amount"),
        ((b"1,240301", b"4,240301"), "marks its group as a test"),
        ((b"1,240301", b"1,240231"), "'240231' is no as-of date"),
        ((b"49,3000,5/\n", b""), "record 98 ends no group, or comes within an account"),
        ((b"80,1,2/", b"80,1,3/"), "says version '3'"),
        ((b"16,475", b"17,475"), "is no BAI2 record"),
    ],
)
def test_a_total_that_does_not_hold_sets_the_file_aside(change: tuple[bytes, bytes], why: str):
    assert change[0] in GOOD
    with pytest.raises(UnusableFileError, match=why):
        opened(GOOD.replace(*change), "bai2")


def test_opening_plus_entries_must_be_closing():
    content = bai2("16,165,500,,,,/", control=3001, rows_=3, account="03,ACC1,,010,1000,,,015,1501,,/")
    with pytest.raises(
        UnusableFileError, match=r"opening 10\.00 plus entries 5\.00 is 15\.00 USD, closing says 15\.01"
    ):
        opened(content, "bai2")


def test_several_records_on_a_line():
    joined = GOOD.replace(b"2/\n02,", b"2/   02,").replace(b"AL\n", b"AL\n")
    assert column(opened(joined, "bai2"), "amount") == ["5.00", "-0.20"]
