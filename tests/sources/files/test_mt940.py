"""MT940 and MT942: lines, balances, pages, and the dialects of field 86."""

from __future__ import annotations

import pytest

from sources.files.errors import UnusableFileError
from sources.files.statements import StatementKey, judge
from tests.sources.files.samples import column, mt940, opened, reasons, rows


def line(text: str, *more: str) -> str:
    return "\r\n".join((f":61:{text}", *more))


def test_a_line_with_all_its_parts():
    file = opened(
        mt940(line("2403020304CR12,50NTRFREF-1//BANK-1", "MORE"), ":86:free text", closing="C240302EUR112,50"),
        "mt940",
    )
    expected = {
        "amount": "12.50",
        "currency": "EUR",
        "status": "SUCCESS",
        "event_time": "2024-03-04",
        "value_date": "2024-03-02",
        "entry_date": "2024-03-04",
        "reference": "REF-1",
        "bank_reference": "BANK-1",
        "type": "NTRF",
        "funds_code": "R",
        "details": "MORE",
        "text": "free text",
        "account": "12030000/202051",
        "statement": "12/1",
    }
    assert {path: column(file, path) for path in expected} == {path: [text] for path, text in expected.items()}
    assert rows(file) == [5]


def test_without_an_entry_date_the_value_date_books():
    file = opened(mt940(line("240229D0,01N123NONREF"), closing="C240301EUR99,99"), "mt940")
    assert column(file, "event_time") == ["2024-02-29"]
    assert column(file, "entry_date") == [None]
    assert column(file, "amount") == ["-0.01"]
    assert column(file, "reference") == [None]


@pytest.mark.parametrize(
    ("dates", "booked"),
    [
        ("2312310102", "2024-01-02"),
        ("2401021231", "2023-12-31"),
        ("2402290229", "2024-02-29"),
        ("2403010229", "2024-02-29"),
    ],
    ids=["into the next year", "from the year before", "leap day", "leap day after it"],
)
def test_an_entry_date_is_in_the_year_nearest_to_the_value_date(dates: str, booked: str):
    file = opened(mt940(line(f"{dates}C1,NTRFX"), closing="C240302EUR101,"), "mt940")
    assert column(file, "event_time") == [booked]


def test_an_entry_date_that_no_year_has_is_a_reject():
    file = opened(mt940(line("2403020230C1,NTRFX"), closing="C240302EUR101,"), "mt940")
    assert reasons(file) == [(5, "entry date 0230 is no day of the calendar")]


@pytest.mark.parametrize(
    ("mark", "closing", "amount", "status"),
    [
        ("C", "C240302EUR105,", "5.25", "SUCCESS"),
        ("D", "C240302EUR94,75", "-5.25", "SUCCESS"),
        ("RC", "C240302EUR94,75", "-5.25", "REVERSED"),
        ("RD", "C240302EUR105,25", "5.25", "REVERSED"),
        ("RDR", "C240302EUR105,25", "5.25", "REVERSED"),
        ("CR", "C240302EUR105,25", "5.25", "SUCCESS"),
    ],
)
def test_marks_give_the_sign_and_reversals_the_status(mark: str, closing: str, amount: str, status: str):
    if mark == "C":
        closing = "C240302EUR105,25"
    file = opened(mt940(line(f"240302{mark}5,25NMSCX"), closing=closing), "mt940")
    assert (column(file, "amount"), column(file, "status")) == ([amount], [status])


def test_a_value_date_that_no_calendar_has_leaves_the_entry_date():
    file = opened(mt940(line("2402300304C12,50NTRFX"), closing="C240302EUR112,50"), "mt940")
    assert column(file, "event_time") == ["2024-03-04"]
    assert column(file, "value_date") == [None]
    alone = opened(mt940(line("240230C12,50NTRFX"), closing="C240302EUR112,50"), "mt940")
    assert reasons(alone) == [(5, "value date 240230 is no day of the calendar, and there is no entry date")]


def test_an_amount_may_begin_with_its_comma():
    file = opened(mt940(line("240301C,50NTRFX"), line("240301D100,NTRFY"), closing="C240302EUR,50"), "mt940")
    assert column(file, "amount") == ["0.50", "-100"]


def test_opening_plus_entries_must_be_closing():
    with pytest.raises(UnusableFileError) as error:
        opened(mt940(line("240302C5,NTRFX"), closing="C240302EUR105,01"), "mt940")
    assert error.value.place == "statement 00012/001 of account 12030000/202051"
    assert error.value.why == "opening 100.00 plus entries 5 is 105.00 EUR, closing says 105.01"


def test_debit_balances_are_below_zero():
    content = mt940(line("240302D50,5NTRFX"), opening="D240301EUR10,", closing="D240302EUR60,5")
    assert column(opened(content, "mt940"), "amount") == ["-50.5"]


def pages(second_opening: str = "C240301EUR110,00", second: str = "00012/002") -> bytes:
    first = [
        ":20:A",
        ":25:ACC",
        ":28C:00012/001",
        ":60F:C240301EUR100,00",
        line("240301C10,NTRFP1"),
        ":62M:C240301EUR110,00",
    ]
    last = [":20:B", ":25:ACC", f":28C:{second}", f":60M:{second_opening}", line("240301C1,NTRFP2")]
    closing = f":62F:C240301EUR{int(second_opening[10:13]) + 1},00"
    return "\r\n".join([*first, "-", *last, closing, "-", ""]).encode()


def test_pages_follow_each_other():
    file = opened(pages(), "mt940")
    assert column(file, "reference") == ["P1", "P2"]
    assert [str(statement) for statement in file.statements] == [
        "statement 12/1 of account ACC",
        "statement 12/2 of account ACC",
    ]
    with pytest.raises(UnusableFileError, match="begins with 111"):
        opened(pages(second_opening="C240301EUR111,00"), "mt940")
    with pytest.raises(UnusableFileError, match="page 2 of the statement is missing"):
        opened(pages(second="00012/003"), "mt940")


def test_several_statements_within_blocks():
    body = mt940(line("240302C5,NTRFA"), closing="C240302EUR105,").decode().removesuffix("-\r\n")
    other = body.replace("00012/001", "00013/001").replace("NTRFA", "NTRFB")
    blocks = "{{1:F01BANKDEFFAXXX0000000000}}{{2:I940BANKDEFFXXXXN}}{{4:\r\n{}-}}{{5:{{CHK:0}}}}\r\n"
    file = opened((blocks.format(body) + blocks.format(other)).encode(), "mt940")
    assert column(file, "reference") == ["A", "B"]
    assert len(file.statements) == 2


def test_a_banks_own_lines_around_messages_are_passed_over():
    content = b"ABNANL2A\r\n940\r\nABNANL2A\r\n" + mt940(line("240302C5,NTRFA"), closing="C240302EUR105,")
    assert column(opened(content, "mt940"), "reference") == ["A"]


def test_text_after_the_closing_balance_is_not_the_last_entrys():
    content = mt940(line("240302C5,NTRFA"), closing="C240302EUR105,").replace(
        b"-\r\n", b":86:about the statement\r\n-\r\n"
    )
    assert column(opened(content, "mt940"), "text") == [None]


def test_subfields_and_tags_of_german_banks():
    content = mt940(
        line("240302C5,NTRFNONREF//B1"),
        ":86:166?00GUTSCHRIFT?109210?20EREF+INV-2024-0001?21KREF+NONREF?22SVWZ+Rechnung 2024-000",
        "1 vom 1. ?23Maerz?30COBADEFFXXX?31DE02100500000054540402?32Erika Must?33ermann?60noch mehr",
        closing="C240302EUR105,",
    )
    file = opened(content, "mt940")
    assert column(file, "text.GVC") == ["166"]
    assert column(file, "text.00") == ["GUTSCHRIFT"]
    assert column(file, "text.20") == ["EREF+INV-2024-0001"]
    assert column(file, "text.EREF") == ["INV-2024-0001"]
    assert column(file, "text.KREF") == [None]
    assert column(file, "text.SVWZ") == ["Rechnung 2024-0001 vom 1. Maerz noch mehr"]
    assert column(file, "text.32") == ["Erika Must"]
    assert column(file, "text.31") == ["DE02100500000054540402"]


def test_a_reference_goes_on_only_where_its_subfield_is_full():
    full = "EREF+" + "A" * 22
    content = mt940(
        line("240302C2,NTRFX"),
        f":86:166?00X?20{full}?21BBB?22CCC",
        line("240302C3,NTRFX"),
        ":86:166?00X?20EREF+SHORT?21text of the payment",
        closing="C240302EUR105,",
    )
    assert column(opened(content, "mt940"), "text.EREF") == ["A" * 22 + "BBB", "SHORT"]


def test_codes_between_slashes():
    content = mt940(
        line("240302C5,NTRFEREF//B1"),
        ":86:/TRTP/SEPA OVERBOEKING/IBAN/NL02ABNA0123456789/BIC/ABNANL2A/NAME/J",
        " JANSEN/REMI/USTD//INV 1/2 OF MARCH/EREF/E2E-77",
        closing="C240302EUR105,",
    )
    file = opened(content, "mt940")
    assert column(file, "text.EREF") == ["E2E-77"]
    assert column(file, "text.IBAN") == ["NL02ABNA0123456789"]
    assert column(file, "text.USTD") == ["INV 1/2 OF MARCH"]
    assert column(file, "text.TRTP") == ["SEPA OVERBOEKING"]
    assert column(file, "text.NAME") == ["J JANSEN"]


def test_a_full_line_goes_on_within_a_word():
    first = "x" * 60 + " INVO"
    content = mt940(line("240302C5,NTRFX"), f":86:{first}", "ICE 7", "EREF+E9", closing="C240302EUR105,")
    file = opened(content, "mt940")
    assert column(file, "text") == ["x" * 60 + " INVOICE 7 EREF+E9"]
    assert column(file, "text.EREF") == ["E9"]


def mt942(*entries: str, debit: str = ":90D:1EUR3,", credit: str = ":90C:2EUR7,") -> bytes:
    head = [":20:I1", ":25:ACC", ":28C:1/1", ":34F:EUR0,", ":13D:2403021200+0100"]
    return "\r\n".join([*head, *entries, debit, credit, "-", ""]).encode()


def test_a_report_within_the_day_has_sums_instead_of_balances():
    entries = (line("240302C5,NTRFA"), line("240302D3,NTRFB"), line("240302EC2,NTRFC"))
    file = opened(mt942(*entries), "mt942")
    assert column(file, "amount") == ["5", "-3", "2"]
    assert column(file, "status") == ["SUCCESS", "SUCCESS", "PENDING"]
    assert column(file, "currency") == ["EUR"] * 3
    assert file.statements[0].key == StatementKey("ACC", "1/1", "2024-03-02")
    with pytest.raises(UnusableFileError, match=":90C: says 2 of 7, there are 2 of 8"):
        opened(mt942(*entries[:2], line("240302C3,NTRFC")), "mt942")
    with pytest.raises(UnusableFileError, match=r"has no :60F:.*format: mt942"):
        opened(mt942(*entries), "mt940")


def test_a_sum_that_mt940_gives_must_hold_too():
    content = mt940(line("240302C5,NTRFA"), closing="C240302EUR105,").replace(b":62F:", b":90C:2EUR5,\r\n:62F:")
    with pytest.raises(UnusableFileError, match=":90C: says 2 of 5, there are 1 of 5"):
        opened(content, "mt940")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("2403C5,NTRFX", "cannot be read"),
        ("240302C5.25NTRFX", "cannot be read"),
        ("240302X5,NTRFX", "cannot be read"),
    ],
)
def test_a_line_that_cannot_be_read_sets_the_file_aside(bad: str, reason: str):
    with pytest.raises(UnusableFileError, match=f"row 5: .*{reason}"):
        opened(mt940(line(bad), closing="C240302EUR105,"), "mt940")


def test_the_same_statement_again_is_nothing_and_other_content_refused():
    one = opened(mt940(line("240302C5,NTRFA"), closing="C240302EUR105,"), "mt940")
    sent_again = opened(mt940(line("240302C5,NTRFA"), closing="C240302EUR105,").replace(b"REF1", b"REF2"), "mt940")
    other = opened(mt940(line("240302C5,NTRFB"), closing="C240302EUR105,", number="12/1"), "mt940")
    known = {statement.key: statement.digest for statement in one.statements}
    assert judge("f", sent_again.statements, known).repeated == frozenset(known)
    with pytest.raises(UnusableFileError, match="was read before with other content"):
        judge("f", other.statements, known)


def test_a_message_without_its_fields_is_refused():
    with pytest.raises(UnusableFileError, match="the message has no :25:"):
        opened(b":20:A\r\n:28C:1/1\r\n:60F:C240301EUR1,\r\n:62F:C240301EUR1,\r\n-\r\n", "mt940")
    with pytest.raises(UnusableFileError, match="has no message"):
        opened(b"nothing of the kind\r\n", "mt940")
