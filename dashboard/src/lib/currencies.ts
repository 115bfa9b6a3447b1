/** Currencies of ISO 4217 by their decimals. A test holds this file against schemas/money.py. */

type ByDecimals = Readonly<Record<number, readonly string[]>>;

/** In use. */
export const IN_USE: ByDecimals = {
  0: ["BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"],
  2: [
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD",
    "CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD",
    "GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA",
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR",
    "RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD",
    "TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
  ],
  3: ["BHD IQD JOD KWD LYD OMR TND"],
  4: ["CLF UYW"],
};

/** Withdrawn, as files of past years bring them. */
export const HISTORIC: ByDecimals = {
  0: ["ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE ROL TPE TRL"],
  2: [
    "AFA ANG ATS AZM BGL CSD CSK CUC CYP DEM EEK FIM FRF GHC GWP HRK IEP LTL LVL MRO MTL MXP MZM NLG PLZ",
    "RUR SDD SIT SKK SLL SRG STD SUR TMM VEB VEF XEU YUM ZMK ZWD ZWL ZWR",
  ],
};

/** Codes that are taken for currencies and are none, with the currency that is meant. */
export const NOT_ISO: Readonly<Record<string, string>> = {
  GBX: "GBP",
  ZAC: "ZAR",
  ILA: "ILS",
  USX: "USD",
  CNH: "CNY",
  RMB: "CNY",
  NTD: "TWD",
  UKP: "GBP",
};

/** Codes of ISO 4217 that have no minor unit. */
export const WITHOUT_MINOR_UNIT: readonly string[] = ["XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX"];

/** Decimals by code. */
export function decimals(groups: ByDecimals): Record<string, number> {
  return Object.fromEntries(
    Object.entries(groups).flatMap(([places, lines]) =>
      lines.flatMap((line) => line.split(" ").map((code) => [code, Number(places)] as const)),
    ),
  );
}
