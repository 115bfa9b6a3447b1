"""Statements, reports and notifications of ISO 20022, and what sets one aside."""

from __future__ import annotations

import re

import pytest

from sources.files.errors import UnusableFileError
from sources.files.opening import open_file
from sources.files.options import FileOptions
from sources.files.statements import StatementKey, changes, judge
from tests.sources.files.samples import balance, camt, column, entry, opened, reasons, rows, transaction

BALANCES = balance("OPBD", "100.00") + balance("CLBD", "130.50", day="2024-03-02")


def test_an_entry_brings_amount_currency_status_and_booking_date():
    file = opened(camt(BALANCES, entry("40.50"), entry("10.00", "DBIT")), "camt.053")
    assert column(file, "amount") == ["40.50", "-10.00"]
    assert column(file, "currency") == ["EUR", "EUR"]
    assert column(file, "status") == ["SUCCESS", "SUCCESS"]
    assert column(file, "event_time") == ["2024-03-02", "2024-03-02"]
    assert column(file, "AcctSvcrRef") == ["B-40.50", "B-10.00"]
    assert column(file, "Amt.@Ccy") == ["EUR", "EUR"]
    assert column(file, "Amt") == ["40.50", "10.00"]
    assert column(file, "Ntry.ValDt.Dt") == ["2024-03-04", "2024-03-04"]
    assert column(file, "Stmt.Acct.Id.IBAN") == ["DE02120300000000202051"] * 2
    assert rows(file) == [1, 2]


@pytest.mark.parametrize("version", [f"{number:02}" for number in range(2, 14)])
def test_every_version_is_read_alike(version: str):
    status = "<Sts>BOOK</Sts>" if version < "07" else "<Sts><Cd>BOOK</Cd></Sts>"
    file = opened(camt(BALANCES, entry("30.50", status=status), version=version), "camt.053")
    assert column(file, "status") == ["SUCCESS"]
    assert column(file, "amount") == ["30.50"]


@pytest.mark.parametrize("version", ["01", "14"])
def test_another_version_is_refused(version: str):
    with pytest.raises(UnusableFileError, match=f"is version {version} of camt.053; versions 02 to 13"):
        opened(camt(BALANCES, entry("30.50"), version=version), "camt.053")


@pytest.mark.parametrize(("kind", "container"), [("052", "Rpt"), ("054", "Ntfctn")])
def test_reports_and_notifications_need_no_balances(kind: str, container: str):
    file = opened(camt(entry("5"), kind=kind), f"camt.{kind}")
    assert column(file, "amount") == ["5"]
    assert column(file, f"{container}.Id") == column(file, "Stmt.Id") == ["S1"]


def test_the_configured_kind_is_wanted():
    with pytest.raises(UnusableFileError, match=r"is a camt\.054; format: camt\.054"):
        opened(camt(entry("5"), kind="054"), "camt.053")


def test_statuses_reversals_and_entries_for_information():
    reversal = "<RvslInd>true</RvslInd>"
    file = opened(
        camt(
            balance("OPBD", "100"),
            balance("CLBD", "95"),
            entry("5", "DBIT", more=reversal),
            entry("7", status="<Sts><Cd>PDNG</Cd></Sts>"),
            entry("9", status="<Sts>INFO</Sts>"),
            entry("8", more="<RvslInd>false</RvslInd>", status="<Sts>PDNG</Sts>"),
            entry("6", status="<Sts><Prtry>OWN</Prtry></Sts>"),
        ),
        "camt.053",
    )
    assert column(file, "status") == ["REVERSED", "PENDING", "PENDING"]
    assert column(file, "amount") == ["-5", "7", "8"]
    assert rows(file) == [1, 2, 4]
    assert file.skipped == {"entry for information (INFO)": 1}
    assert reasons(file) == [(5, "entry status 'OWN' is none of BOOK, PDNG, INFO")]
    assert file.rejects[0].raw.startswith(b"<Ntry")


def test_opening_plus_entries_must_be_closing():
    with pytest.raises(UnusableFileError) as error:
        opened(camt(BALANCES, entry("30.49")), "camt.053", name="march.xml")
    assert error.value.place == "statement 7/1 of account DE02120300000000202051"
    assert error.value.why == "opening 100.00 plus entries 30.49 is 130.49 EUR, closing says 130.50"


def test_debit_balances_are_below_zero():
    file = opened(camt(balance("PRCD", "10", "DBIT"), balance("CLBD", "5", "DBIT"), entry("5")), "camt.053")
    assert column(file, "amount") == ["5"]


def test_one_balance_alone_cannot_be_checked():
    with pytest.raises(UnusableFileError, match=r"has no closing balance \(CLBD\) in EUR"):
        opened(camt(balance("OPBD", "10"), entry("5")), "camt.053")


def test_pages_begin_and_end_with_interim_balances():
    page = "<StmtPgntn><PgNb>{}</PgNb><LastPgInd>{}</LastPgInd></StmtPgntn>"
    second = (
        "<Stmt><Id>S1</Id>" + page.format(2, "true") + "<ElctrncSeqNb>7</ElctrncSeqNb>"
        "<Acct><Id><IBAN>DE02120300000000202051</IBAN></Id></Acct>{}" + entry("20") + "</Stmt>"
    )
    first = (page.format(1, "false"), balance("OPBD", "100"), balance("ITBD", "110"), entry("10"))
    good = camt(*first, more=second.format(balance("ITBD", "110") + balance("CLBD", "130")))
    file = opened(good, "camt.053")
    assert column(file, "amount") == ["10", "20"]
    assert [statement.key.number for statement in file.statements] == ["7/1", "7/2"]
    gap = camt(*first, more=second.format(balance("ITBD", "111") + balance("CLBD", "131")))
    with pytest.raises(UnusableFileError, match="begins with 111 EUR, the page before it ends with 110"):
        opened(gap, "camt.053")


def test_each_currency_adds_up_for_itself():
    two = BALANCES + balance("OPBD", "1", currency="USD") + balance("CLBD", "3", currency="USD")
    file = opened(camt(two, entry("30.50"), entry("2", ccy="USD")), "camt.053")
    assert column(file, "currency") == ["EUR", "USD"]
    with pytest.raises(UnusableFileError, match="is 4 USD, closing says 3"):
        opened(camt(two, entry("30.50"), entry("3", ccy="USD")), "camt.053")
    with pytest.raises(UnusableFileError, match="an entry in GBP, its balances are in EUR, USD"):
        opened(camt(two, entry("30.50"), entry("2", ccy="GBP")), "camt.053")


def test_an_entry_in_another_currency_counts_with_its_counter_value():
    more = '<AmtDtls><CntrValAmt><Amt Ccy="EUR">30.50</Amt></CntrValAmt></AmtDtls>'
    file = opened(camt(BALANCES, entry("33", more=more, ccy="USD")), "camt.053")
    assert (column(file, "amount"), column(file, "currency")) == (["33"], ["USD"])


def test_a_batch_booking_gives_its_transactions():
    batch = transaction("10.25", "E1") + transaction("25.25", "E2") + transaction("5.00", "E3", "DBIT")
    content = camt(BALANCES, entry("30.50", details=batch))
    file = opened(content, "camt.053", level="details")
    assert column(file, "amount") == ["10.25", "25.25", "-5.00"]
    assert column(file, "Refs.EndToEndId") == ["E1", "E2", "E3"]
    assert column(file, "Ntry.AcctSvcrRef") == ["B-30.50"] * 3
    assert rows(file) == [1, 2, 3]
    at_entry = opened(content, "camt.053")
    assert column(at_entry, "amount") == ["30.50"]
    # Which of the three is meant is not guessed; one that is picked is given.
    assert column(at_entry, "NtryDtls.TxDtls.Refs.EndToEndId") == [None]
    assert column(at_entry, "NtryDtls.TxDtls[1].Refs.EndToEndId") == ["E2"]


def test_a_batch_that_does_not_add_up_sets_the_file_aside():
    batch = transaction("10.25", "E1") + transaction("20.24", "E2")
    with pytest.raises(UnusableFileError, match=r"2 transactions of a batch add up to 30\.49, its entry is 30\.50 EUR"):
        opened(camt(BALANCES, entry("30.50", details=batch)), "camt.053", level="details")
    without = re.sub(r"<Amt Ccy=\"EUR\">\S+?</Amt></TxDtls>", "</TxDtls>", batch)
    with pytest.raises(UnusableFileError, match="transaction 1 of 2 has no amount in EUR"):
        opened(camt(BALANCES, entry("30.50", details=without)), "camt.053", level="details")


def test_a_batch_that_tells_of_fewer_transactions_than_it_counts_sets_the_file_aside():
    count = "<Btch><NbOfTxs>{}</NbOfTxs></Btch>"
    whole = camt(BALANCES, entry("30.50", details=count.format(1) + transaction("30.50", "E1")))
    assert column(opened(whole, "camt.053", level="details"), "Refs.EndToEndId") == ["E1"]
    part = camt(BALANCES, entry("30.50", details=count.format(3) + transaction("30.50", "E1")))
    with pytest.raises(UnusableFileError, match="a batch of 3 transactions tells of 1"):
        opened(part, "camt.053", level="details")
    assert column(opened(part, "camt.053"), "amount") == ["30.50"]
    none = camt(BALANCES, entry("30.50", details=count.format(3)))
    assert column(opened(none, "camt.053", level="details"), "amount") == ["30.50"]


def test_an_entry_in_another_currency_counts_with_its_instructed_amount():
    more = '<AmtDtls><InstdAmt><Amt Ccy="EUR">30.50</Amt></InstdAmt><TxAmt><Amt Ccy="USD">33</Amt></TxAmt></AmtDtls>'
    assert column(opened(camt(BALANCES, entry("33", more=more, ccy="USD")), "camt.053"), "amount") == ["33"]


def test_version_two_has_the_amounts_of_a_batch_in_their_details():
    one = "<TxDtls><AmtDtls><InstdAmt>{}</InstdAmt><TxAmt>{}</TxAmt></AmtDtls></TxDtls>"
    batch = one.format('<Amt Ccy="USD">11</Amt>', '<Amt Ccy="EUR">10.50</Amt>') * 1
    batch += one.format('<Amt Ccy="EUR">20</Amt>', '<Amt Ccy="EUR">20.00</Amt>')
    file = opened(camt(BALANCES, entry("30.50", details=batch), version="02"), "camt.053", level="details")
    assert column(file, "amount") == ["10.50", "20.00"]


def test_an_entry_without_details_is_one_record_at_level_details():
    file = opened(camt(BALANCES, entry("30.50")), "camt.053", level="details")
    assert column(file, "amount") == ["30.50"]
    assert column(file, "Refs.EndToEndId") == [None]
    assert column(file, "Ntry.AcctSvcrRef") == ["B-30.50"]


def test_a_reference_that_is_not_provided_is_absent():
    file = opened(
        camt(BALANCES, entry("30.50", details=transaction("30.50", "NOTPROVIDED"))), "camt.053", level="details"
    )
    assert column(file, "Refs.EndToEndId") == [None]


def test_lines_of_a_remittance_text_are_one_text():
    more = "<TxDtls><RmtInf><Ustrd>INV 1</Ustrd><Ustrd>INV 2</Ustrd></RmtInf></TxDtls>"
    file = opened(camt(BALANCES, entry("30.50", details=more)), "camt.053", level="details")
    assert column(file, "RmtInf.Ustrd") == ["INV 1 INV 2"]
    assert column(file, "RmtInf.Ustrd[1]") == ["INV 2"]


def test_the_banks_own_totals_must_hold():
    totals = "<TxsSummry><TtlNtries><NbOfNtries>{}</NbOfNtries><Sum>{}</Sum></TtlNtries></TxsSummry>"
    content = (BALANCES, entry("40.50"), entry("10.00", "DBIT"))
    assert column(opened(camt(totals.format(2, "50.50"), *content), "camt.053"), "amount") == ["40.50", "-10.00"]
    with pytest.raises(UnusableFileError, match="TtlNtries counts 3 entries, there are 2"):
        opened(camt(totals.format(3, "50.50"), *content), "camt.053")
    with pytest.raises(UnusableFileError, match=r"TtlNtries sums up to 50\.51, the entries to 50\.50"):
        opened(camt(totals.format(2, "50.51"), *content), "camt.053")


def test_the_same_statement_again_is_nothing():
    content = camt(BALANCES, entry("30.50"))
    again = content.replace(b"T20:00:00", b"T21:30:00").replace(b"<MsgId>M1", b"<MsgId>M2")
    first, second = opened(content, "camt.053"), opened(again, "camt.053")
    known = {statement.key: statement.digest for statement in first.statements}
    judged = judge("again.xml", second.statements, known)
    assert judged.repeated == frozenset(known)
    assert [len(batch.rows) for batch in second.batches(judged.repeated)] == []
    assert second.skipped == {"entry of a statement that is known already": 1}


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"<Id>S1</Id>", b"<Id>S2</Id>"), (b"<Acct>", b"<CpyDplctInd>DUPL</CpyDplctInd><Acct>")],
    ids=["called-anew", "marked-as-duplicate"],
)
def test_a_statement_that_is_sent_again_is_the_same(old, new):
    content = camt(BALANCES, entry("30.50"))
    assert old in content
    (first,), (second,) = (opened(one, "camt.053").statements for one in (content, content.replace(old, new, 1)))
    assert (first.key, first.digest) == (second.key, second.digest)


def test_other_content_under_a_known_number_needs_to_be_a_correction():
    first = opened(camt(BALANCES, entry("30.50")), "camt.053")
    other = opened(camt(BALANCES, entry("20.00"), entry("10.50")), "camt.053")
    known = {statement.key: statement.digest for statement in first.statements}
    with pytest.raises(UnusableFileError, match="was read before with other content; --corrects"):
        judge("other.xml", other.statements, known)
    assert judge("other.xml", other.statements, known, corrects=True).corrected == frozenset(known)
    assert first.statements[0].key == StatementKey("DE02120300000000202051", "7/1", "2024-03-02")
    said = changes(column(first, "amount"), column(other, "amount"))
    assert (said.gone, said.new) == (("30.50",), ("20.00", "10.50"))


def test_a_statement_twice_in_a_file_is_read_once():
    statement = re.search(rb"<Stmt>.*</Stmt>", camt(BALANCES, entry("30.50")))[0].decode()
    file = opened(camt(BALANCES, entry("30.50"), more=statement), "camt.053")
    assert column(file, "amount") == ["30.50"]
    with pytest.raises(UnusableFileError, match="occurs twice in this file with different content"):
        opened(camt(BALANCES, entry("30.50"), more=statement.replace("B-30.50", "B-31")), "camt.053")


def test_a_document_within_an_envelope_and_with_a_prefix_is_read():
    inner = camt(BALANCES, entry("30.50")).split(b"?>", 1)[1]
    inner = re.sub(rb"<(/?)([A-Z])", rb"<\1c:\2", inner).replace(b"xmlns=", b"xmlns:c=")
    file = opened(b"<Envelope><Hdr/>" + inner + b"</Envelope>", "camt.053")
    assert column(file, "amount") == ["30.50"]


def test_entities_and_document_types_are_refused():
    bomb = b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + camt(
        BALANCES, entry("30.50")
    ).split(b"?>", 1)[1].replace(b"B-30.50", b"&b;")
    with pytest.raises(UnusableFileError, match="has a document type"):
        opened(bomb, "camt.053")


def test_a_document_that_is_cut_short_says_where():
    with pytest.raises(UnusableFileError, match="the document is broken"):
        opened(camt(BALANCES, entry("30.50"))[:-30], "camt.053")


def test_a_booked_entry_without_an_amount_sets_the_file_aside():
    with pytest.raises(UnusableFileError, match="an entry without an amount"):
        opened(camt(BALANCES, entry("30.50"), entry("x")), "camt.053")


def test_what_is_no_statement_is_refused():
    with pytest.raises(UnusableFileError, match=r"has no BkToCstmrStmt; a camt\.053 document"):
        opened(b"<Document><Other/></Document>", "camt.053")
    with pytest.raises(UnusableFileError, match=r"is a JSON document, configured is camt\.053"):
        open_file(b'{"a": 1}', "x.json", FileOptions(format="camt.053"))
