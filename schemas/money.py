"""Currencies of ISO 4217 with their minor-unit exponents, and the one place where money becomes text."""

from __future__ import annotations

from typing import Final

_TWO = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF "
    "CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN "
    "MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
    "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW "
    "ZWG"
)
_ZERO = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"

# Source: ISO 4217 list one, less the codes whose minor unit is "N.A.": metals (XAU, XAG, XPD, XPT), units of account
# (XDR, XSU, XUA, XBA to XBD), testing (XTS) and no currency (XXX). A number of minor units says no amount in them.
CURRENCY_EXPONENTS: dict[str, int] = {
    **dict.fromkeys(_TWO.split(), 2),
    **dict.fromkeys(_ZERO.split(), 0),
    **dict.fromkeys(_THREE.split(), 3),
    **dict.fromkeys(_FOUR.split(), 4),
}

# Withdrawn codes (ISO 4217 list three) that files of past years bring, by the decimals they had.
_HISTORIC: Final = {
    0: "ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE ROL TPE TRL",
    2: "AFA ANG ATS AZM BGL CSD CSK CUC CYP DEM EEK FIM FRF GHC GWP HRK IEP LTL LVL MRO MTL MXP MZM NLG PLZ RUR SDD "
    "SIT SKK SLL SRG STD SUR TMM VEB VEF XEU YUM ZMK ZWD ZWL ZWR",
}
HISTORIC_EXPONENTS: Final[dict[str, int]] = {
    code: exponent for exponent, codes in _HISTORIC.items() for code in codes.split()
}

EXPONENTS: Final[dict[str, int]] = {**HISTORIC_EXPONENTS, **CURRENCY_EXPONENTS}
"""Decimals of every currency that is taken: those in use, and historic ones."""

# Codes that are taken for currencies and are none: quotes in minor units, and everyday names.
NOT_ISO: Final = {
    "GBX": "GBP",  # pence, as shares are quoted
    "ZAC": "ZAR",
    "ILA": "ILS",
    "USX": "USD",
    "CNH": "CNY",
    "RMB": "CNY",
    "NTD": "TWD",
    "UKP": "GBP",
}
_WITHOUT_MINOR_UNIT: Final = frozenset(
    ["XAU", "XAG", "XPD", "XPT", "XDR", "XSU", "XUA", "XBA", "XBB", "XBC", "XBD", "XTS", "XXX"]
)


def why_no_currency(code: str) -> str:
    """What is wrong with a code that is no currency here, and what would be right, as `'GBX' is no currency of ...`."""
    shown = repr(code[:16])
    if code in NOT_ISO:
        return f"{shown} is no currency of ISO 4217: write the amount in {NOT_ISO[code]}"
    if code in _WITHOUT_MINOR_UNIT:
        return f"{shown} has no minor unit in ISO 4217: no amount can be written in it"
    if code.upper() != code and code.upper() in EXPONENTS:
        return f"{shown} is no currency of ISO 4217: write {code.upper()}"
    return f"{shown} is no currency of ISO 4217"


def format_minor(amount_minor: int, currency: str) -> str:
    """`123456, "USD"` as `1,234.56 USD`: exact, by integer arithmetic."""
    exponent = EXPONENTS[currency]
    sign = "-" if amount_minor < 0 else ""
    whole, part = divmod(abs(amount_minor), 10**exponent)
    return f"{sign}{whole:,}.{part:0{exponent}d} {currency}" if exponent else f"{sign}{whole:,} {currency}"
