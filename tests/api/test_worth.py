"""The order of amounts in several currencies: by exact worth, and the same from any place in it."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from api.store.worth import Place, Start, WorthOrder, largest
from schemas.exchange import NO_RATES, ExchangeRates

RATES = ExchangeRates.parse("EUR", "USD=0.5,KWD=3,JPY=0.01")
CURRENCIES = ["EUR", "ISK", "JPY", "KWD", "USD", "XCD"]  # no rate for ISK and XCD


def in_order(rates, amounts, *, descending=True):
    order = WorthOrder(rates, descending=descending)
    return sorted(amounts, key=lambda each: order.key(*each))


def test_the_larger_worth_comes_first_whatever_the_minor_units():
    """1,000 dinars are 1,000,000 fils, and less than 100,000 euros, which are ten million cents."""
    assert in_order(RATES, [("KWD", 1_000_000), ("EUR", 10_000_000)]) == [("EUR", 10_000_000), ("KWD", 1_000_000)]
    assert in_order(RATES, [("JPY", 1_000), ("EUR", 900), ("USD", 3_000)]) == [
        ("USD", 3_000),  # 15.00 EUR
        ("JPY", 1_000),  # 10.00
        ("EUR", 900),
    ]


def test_what_has_no_rate_comes_last_and_by_itself_both_ways():
    amounts = [("XCD", 1), ("ISK", 10**15), ("EUR", 1), ("ISK", 5), ("USD", 4)]
    assert in_order(RATES, amounts) == [("USD", 4), ("EUR", 1), ("ISK", 10**15), ("ISK", 5), ("XCD", 1)]
    assert in_order(RATES, amounts, descending=False) == [
        ("EUR", 1),
        ("USD", 4),
        ("ISK", 5),
        ("ISK", 10**15),
        ("XCD", 1),
    ]
    assert WorthOrder(RATES, descending=True).without_rate(CURRENCIES) == ["ISK", "XCD"]


def test_without_rates_no_currency_is_put_between_the_amounts_of_another():
    amounts = [("KWD", 1_000_000), ("EUR", 10_000_000), ("EUR", 5)]
    assert in_order(NO_RATES, amounts) == [("EUR", 10_000_000), ("EUR", 5), ("KWD", 1_000_000)]


def test_worth_is_exact_where_a_decimal_context_would_round():
    rates = ExchangeRates.parse("EUR", "USD=0.3333333333333333333333333333333333333334")
    assert rates.worth("USD") == Fraction(3333333333333333333333333333333333333334, 10**42)
    assert in_order(rates, [("EUR", 10**15), ("USD", 3 * 10**15)])[0] == ("USD", 3 * 10**15)


def test_equal_worth_is_ordered_by_currency_and_found_again_there():
    order = WorthOrder(RATES, descending=True)
    # 10.00 EUR, 20.00 USD and 1,000 JPY are worth the same: EUR, JPY, USD.
    assert order.starts(["EUR", "JPY", "USD"], Place("JPY", 1_000, "m")) == [
        Start("EUR", 1_000, ""),  # what is worth the same in euros came before
        Start("JPY", 1_000, "m"),
        Start("USD", 2_001, ""),  # and in dollars follows
    ]
    assert order.starts(["EUR", "ISK"], Place("ISK", 7, "m")) == [Start("ISK", 7, "m")]


ROWS = st.lists(
    st.tuples(
        st.sampled_from(CURRENCIES),
        st.one_of(st.integers(-60, 60), st.sampled_from([-(10**15), 10**15])),
        st.text("abc", min_size=1, max_size=2),
    ),
    unique_by=lambda row: (row[0], row[2]),
    min_size=1,
    max_size=30,
)


@given(rows=ROWS, descending=st.booleans(), rated=st.booleans(), at=st.integers(0, 29))
def test_from_every_place_the_rest_of_the_order_follows(rows, descending, rated, at):
    order = WorthOrder(RATES if rated else NO_RATES, descending=descending)
    ordered = sorted(sorted(rows, key=lambda row: row[2], reverse=descending), key=lambda row: order.key(*row[:2]))
    at = min(at, len(ordered) - 1)
    starts = {start.currency: start for start in order.starts(CURRENCIES, Place(*ordered[at]))}

    def follows(row):
        start = starts.get(row[0])
        if start is None:
            return False
        here, begin = (row[1], row[2]), (start.amount_minor, start.txn_id)
        return here < begin if descending else here > begin

    assert [row for row in ordered if follows(row)] == ordered[at + 1 :]
    first = {start.currency: start for start in order.starts(CURRENCIES, None)}
    assert set(first) == set(CURRENCIES)


def test_of_many_amounts_the_largest_by_worth_and_then_those_of_each_currency_in_turn():
    amounts = [("ISK", 5), ("ISK", 9), ("XCD", 1), ("EUR", 900), ("USD", 3_000), ("ISK", 7)]
    assert [amounts[at] for at in largest(RATES, amounts, 5)] == [
        ("USD", 3_000),
        ("EUR", 900),
        ("ISK", 9),
        ("XCD", 1),
        ("ISK", 7),
    ]
    assert [amounts[at] for at in largest(NO_RATES, amounts, 4)] == [
        ("EUR", 900),
        ("ISK", 9),
        ("USD", 3_000),
        ("XCD", 1),
    ]
    assert largest(RATES, [], 5) == []
