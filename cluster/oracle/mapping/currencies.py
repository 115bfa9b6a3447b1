"""The three digits of ISO 4217, which a source may write instead of a currency's letters."""

from __future__ import annotations

from schemas.money import EXPONENTS

# Lists one and three of ISO 4217, in the order of the digits. 532 was the guilder's (ANG) and is XCG's since 2025.
_IN_USE = """
008 ALL 012 DZD 032 ARS 036 AUD 044 BSD 048 BHD 050 BDT 051 AMD 052 BBD 060 BMD 064 BTN 068 BOB 072 BWP 084 BZD 090 SBD
096 BND 104 MMK 108 BIF 116 KHR 124 CAD 132 CVE 136 KYD 144 LKR 152 CLP 156 CNY 170 COP 174 KMF 188 CRC 192 CUP 203 CZK
208 DKK 214 DOP 222 SVC 230 ETB 232 ERN 238 FKP 242 FJD 262 DJF 270 GMD 292 GIP 320 GTQ 324 GNF 328 GYD 332 HTG 340 HNL
344 HKD 348 HUF 352 ISK 356 INR 360 IDR 364 IRR 368 IQD 376 ILS 388 JMD 392 JPY 396 XAD 398 KZT 400 JOD 404 KES 408 KPW
410 KRW 414 KWD 417 KGS 418 LAK 422 LBP 426 LSL 430 LRD 434 LYD 446 MOP 454 MWK 458 MYR 462 MVR 480 MUR 484 MXN 496 MNT
498 MDL 504 MAD 512 OMR 516 NAD 524 NPR 532 XCG 533 AWG 548 VUV 554 NZD 558 NIO 566 NGN 578 NOK 586 PKR 590 PAB 598 PGK
600 PYG 604 PEN 608 PHP 634 QAR 643 RUB 646 RWF 654 SHP 682 SAR 690 SCR 702 SGD 704 VND 706 SOS 710 ZAR 728 SSP 748 SZL
752 SEK 756 CHF 760 SYP 764 THB 776 TOP 780 TTD 784 AED 788 TND 800 UGX 807 MKD 818 EGP 826 GBP 834 TZS 840 USD 858 UYU
860 UZS 882 WST 886 YER 901 TWD 924 ZWG 925 SLE 926 VED 927 UYW 928 VES 929 MRU 930 STN 933 BYN 934 TMT 936 GHS 938 SDG
940 UYI 941 RSD 943 MZN 944 AZN 946 RON 947 CHE 948 CHW 949 TRY 950 XAF 951 XCD 952 XOF 953 XPF 967 ZMW 968 SRD 969 MGA
970 COU 971 AFN 972 TJS 973 AOA 975 BGN 976 CDF 977 BAM 978 EUR 979 MXV 980 UAH 981 GEL 984 BOV 985 PLN 986 BRL 990 CLF
997 USN
"""
_WITHDRAWN = """
020 ADP 040 ATS 056 BEF 100 BGL 191 HRK 196 CYP 233 EEK 246 FIM 250 FRF 276 DEM 300 GRD 372 IEP 380 ITL 428 LVL 440 LTL
442 LUF 470 MTL 478 MRO 528 NLG 620 PTE 678 STD 694 SLL 703 SKK 705 SIT 724 ESP 740 SRG 792 TRL 931 CUC 932 ZWL 937 VEF
974 BYR
"""
_WORDS = [*_WITHDRAWN.split(), *_IN_USE.split()]
LETTERS = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True))


# Signs that few currencies share, with all that do. The dollar and others are left out: too many have them.
CODES_OF_SIGN = {
    "\u20ac": {"EUR"},
    "\u00a3": {"GBP", "EGP", "FKP", "GIP", "LBP", "SDG", "SHP", "SSP", "SYP", "CYP", "IEP", "MTL"},
    "\u00a5": {"JPY", "CNY"},
    "\uffe5": {"JPY", "CNY"},
    "\u20b9": {"INR"},
    "\u20a8": {"INR", "LKR", "MUR", "NPR", "PKR", "SCR"},
    "\u20bd": {"RUB"},
    "\u20a9": {"KRW", "KPW"},
    "\u20aa": {"ILS"},
    "\u20ab": {"VND"},
    "\u20ba": {"TRY"},
    "\u20b4": {"UAH"},
    "\u20b1": {"PHP", "CUP"},
    "\u0e3f": {"THB"},
    "\u20a6": {"NGN"},
    "\u20b8": {"KZT"},
}


def code_of(text: str | None) -> str | None:
    """The letters of a currency that is written with letters or digits; None for what is none."""
    if text in EXPONENTS:
        return text
    digits = text.zfill(3) if text is not None and text.isascii() and text.isdigit() else ""  # as a number, 036 is 36
    letters = LETTERS.get(digits)
    return letters if letters in EXPONENTS else None
