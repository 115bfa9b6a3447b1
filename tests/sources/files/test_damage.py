"""Files damaged in every place: a reader gives records, rejects or a refusal, and never anything else."""

from __future__ import annotations

import contextlib
import gzip
import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from sources.files.errors import UnusableFileError
from sources.files.options import Control, Place, RecordKinds
from tests.sources.files.samples import (
    amounts_at,
    balance,
    camt,
    entry,
    mt940,
    opened,
    text_row,
    transaction,
    xlsx,
    zipped,
)
from wire.records import BadPathError

DAMAGES = 400
"""How many damaged versions of each file are read."""


def _parquet() -> bytes:
    out = io.BytesIO()
    table = pa.table(
        {
            "id": [f"T{at}" for at in range(50)],
            "when": pa.array(range(50), pa.timestamp("ns")),
            "nested": [{"a": at, "l": [at]} for at in range(50)],
        }
    )
    pq.write_table(table, out)
    return out.getvalue()


def _statement() -> bytes:
    batch = transaction("10.25", "E1") + transaction("20.25", "E2")
    return camt(balance("OPBD", "100.00") + balance("CLBD", "130.50"), entry("30.50", details=batch))


FIXED = b"SBA00001  100.50\nSBA00002    0.25\nST000002      100.75\n"
KINDS = RecordKinds(Place(at=(0, 2)), ("SB",), Control(("ST",), Place(at=(2, 8)), Place(at=(8, 20))))
SWIFT = mt940(":61:240302C5,NTRFA//B", ":86:166?00X?20EREF+1?21SVWZ+2", closing="C240302EUR105,")
BAI2 = (
    b"01,BANK,CUST,240302,0600,F1,80,1,2/\n02,CUST,BANK,1,240301,,USD,2/\n03,ACC1,,010,1000,,,015,1500,,/\n"
    b"16,165,500,S,1,2,3,BR,CR,TEXT\n88,MORE\n49,3000,4/\n98,3000,1,6/\n99,3000,1,8/\n"
)
BOOK = xlsx(
    {"S": text_row(1, "a", "b") + '<row r="2"><c t="s"><v>0</v></c><c s="1"><v>45000</v></c></row>'},
    shared="<si><t>x</t></si>",
)
JSON = b'{"data": [{"a": 1.50, "b": [1, "x"]}, {"a": "\xc3\xa9"}], "end": {}}'

FILES: dict[str, tuple[str, bytes, dict]] = {
    "fixed": ("fixed", FIXED, {}),
    "fixed with kinds": ("fixed", FIXED, {"records": KINDS, "amounts": amounts_at(Place(at=(8, 16)))}),
    "fixed in utf-16": ("fixed", FIXED.decode().encode("utf-16"), {"encoding": "utf-16"}),
    "csv": ("csv", b'id,note\nA,"x ""y"""\nB,"a\nb"\n', {}),
    "json": ("json", JSON, {"array": "data"}),
    "jsonl": ("jsonl", b'{"a": 1}\n{"a": {"b": [null, true]}}\n', {}),
    "parquet": ("parquet", _parquet(), {}),
    "xlsx": ("xlsx", BOOK, {}),
    "camt": ("camt.053", _statement(), {}),
    "camt details": ("camt.053", _statement(), {"level": "details"}),
    "mt940": ("mt940", SWIFT, {}),
    "bai2": ("bai2", BAI2, {}),
    "gz": ("fixed", gzip.compress(FIXED), {}),
    "zst": ("fixed", zstandard.compress(FIXED), {}),
    "zip": ("bai2", zipped(a=BAI2, b=BAI2), {}),
}


def damaged(content: bytes, source: random.Random) -> bytes:
    """The content with a few bytes changed, cut, doubled or moved."""
    out = bytearray(content)
    for _ in range(source.choice((1, 1, 2, 5))):
        at = source.randrange(len(out) or 1)
        match source.randrange(5):
            case 0 if out:
                out[at] = source.randrange(256)
            case 1:
                del out[at : at + source.randrange(1, 20)]
            case 2:
                out[at:at] = out[at : at + source.randrange(1, 30)]
            case 3:
                out[at:at] = source.choice((b"\n", b'"', b"<", b"]", b"\x00", b"\xff", b",", b"99999999", b":61:"))
            case _ if source.random() < 0.3:
                del out[at:]
    return bytes(out)


@pytest.mark.parametrize("name", FILES)
def test_damage_gives_records_rejects_or_a_refusal(name: str):
    format_, content, options = FILES[name]
    assert list(opened(content, format_, **options).batches())
    for seed in range(DAMAGES):
        broken = damaged(content, random.Random(f"{name} {seed}"))
        try:
            file = opened(broken, format_, **options)
        except UnusableFileError as error:
            assert error.why, seed  # noqa: PT017
            continue
        # What can be wrong with the whole file was found: reading it raises nothing.
        for batch in file.batches():
            numbers = batch.rows.to_list()
            assert numbers == sorted(set(numbers)), seed
            for path in batch.paths():
                with contextlib.suppress(BadPathError):  # a name that no path can say
                    assert len(batch.text(path)) == len(numbers), seed
            assert not numbers or isinstance(batch.raw(len(numbers) - 1), bytes), seed
        assert all(reject.reason and reject.row > 0 for reject in file.rejects), seed
