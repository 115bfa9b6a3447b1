"""What `recon.yaml` says, as frozen values. Money is in exact decimals of major units, durations in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from schemas.money import CURRENCY_EXPONENTS
from schemas.rules import RuleSet, Tolerance
from sources.currencies import EXPONENTS
from sources.files.options import STATEMENT_FORMATS, FileOptions, Place


@dataclass(frozen=True, slots=True)
class Value:
    """How one field is read. Which keys mean something depends on the field; see docs/configuration.md.

    `places` are tried in order, the first that is not empty is taken; `join` are places whose texts are joined.
    `words` maps a record's word to the value that it means.
    """

    places: tuple[Place, ...] = ()
    join: tuple[Place, ...] = ()
    joined_with: str = " "
    const: str | None = None
    trim: bool = False
    upper: bool = False
    lower: bool = False
    strip_leading_zeros: bool = False
    extract: str | None = None
    normalize: bool = False
    words: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    otherwise: str | None = None


@dataclass(frozen=True, slots=True)
class Indicator:
    """A place whose word says whether an amount is a debit (negative). With `credit`, other words are rejects."""

    value: Value
    debit: tuple[str, ...]
    credit: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """How an amount is read: one value, or one for debits (negative) and one for credits."""

    value: Value
    unit: Literal["minor", "major"]
    exponent: Mapping[str, int] = field(default_factory=dict)
    sign: Literal["keep", "abs", "invert"] = "keep"
    debit: Value | None = None
    credit: Value | None = None
    indicator: Indicator | None = None
    decimal: str = "."
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Time:
    """How a time is read. `format` is iso, epoch_s, epoch_ms, epoch_us, excel, or a pattern with % directives."""

    value: Value
    format: str = "iso"
    zone: str | None = None
    fold: Literal["earlier", "later", "reject"] = "earlier"
    date_only: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """Which records are the source's: those whose value is (or is not) among the words."""

    value: Value
    words: tuple[str, ...]
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Fields:
    """The mapping of a source: where each canonical field is, and how it is read."""

    txn_id: Value
    amount: Amount
    currency: Value
    status: Value
    event_time: Time
    event_id: Value | None = None
    account_id: Value | None = None
    original_txn_id: Value | None = None
    fee: Amount | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One source of a reconciliation: a topic, or files. `fields` is None for canonical Avro records of a topic."""

    name: str
    topic: str | None
    path: str | None
    format: str
    line: int
    envelope: Literal["none", "debezium", "cloudevents"] = "none"
    schema: str | None = None
    message: str | None = None
    expected: bool = True
    where: tuple[Condition, ...] = ()
    fields: Fields | None = None
    negative: bool = False
    identity: Literal["place", "row"] = "place"
    deletes: Literal["ignore", "retract"] = "ignore"
    file: FileOptions | None = None
    settles_within_ms: int = 0
    wait_at_most_ms: int | None = None

    @property
    def is_file(self) -> bool:
        """Whether it reads files instead of a topic."""
        return self.path is not None

    @property
    def calendar(self) -> str | None:
        """The zone of the days of a source of whose times only the day counts; None: its times are moments."""
        if self.fields is None or not self.fields.event_time.date_only:
            return None
        return self.fields.event_time.zone or "UTC"

    @property
    def has_rows(self) -> bool:
        """Whether its events are states of rows, each known by the record's Kafka key."""
        return self.identity == "row" and self.fields is not None and self.fields.event_id is None

    @property
    def is_canonical(self) -> bool:
        """Whether its records are recon's own Avro, framed by the registry."""
        return self.fields is None and not self.is_file

    @property
    def is_statement(self) -> bool:
        """Whether its format is a bank statement's, which brings amount, currency, status and time by itself."""
        return self.format in STATEMENT_FORMATS


@dataclass(frozen=True, slots=True)
class ToleranceConfig:
    """`absolute` in major units of its currency, `percent` of the largest amount."""

    absolute: Decimal = Decimal(0)
    percent: Decimal = Decimal(0)

    def to_tolerance(self, exponent: int) -> Tolerance:
        """In minor units of a currency with so many decimals, rounded down: a part of a minor unit allows nothing."""
        return Tolerance(int(self.absolute.scaleb(exponent)), int(self.percent * 100))


@dataclass(frozen=True, slots=True)
class RulesConfig:
    """The first rule set."""

    match_window_ms: int
    time_tolerance_ms: int
    tolerances: Mapping[str, ToleranceConfig] = field(default_factory=dict)
    default_tolerance: ToleranceConfig = ToleranceConfig()

    def to_rule_set(self, expected_sources: tuple[str, ...]) -> RuleSet:
        """As the engine takes it. A default in major units becomes one for each currency, by its decimals."""
        named = {code: one.to_tolerance(EXPONENTS[code]) for code, one in self.tolerances.items()}
        default = self.default_tolerance
        if default.absolute:
            # A default of two decimals is another number of minor units in yen than in euro.
            named = {**{code: default.to_tolerance(EXPONENTS[code]) for code in CURRENCY_EXPONENTS}, **named}
        return RuleSet(
            match_window_ms=self.match_window_ms,
            time_tolerance_ms=self.time_tolerance_ms,
            default_tolerance=Tolerance(0, int(default.percent * 100)),
            tolerances=named,
            expected_sources=expected_sources,
        )


@dataclass(frozen=True, slots=True)
class TotalsConfig:
    """What the shape `totals` adds: which sources stand on which side, and how their sums relate."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    relation: Literal["equal", "at_most"] = "equal"
    fees: Literal["left", "right", "none"] = "none"


@dataclass(frozen=True, slots=True)
class ReconciliationConfig:
    """One reconciliation. `key` are canonical fields or `attributes.NAME`; the first that is not empty is taken."""

    name: str
    shape: Literal["one_per_source", "totals"]
    key: tuple[str, ...]
    sources: Mapping[str, SourceConfig]
    rules: RulesConfig
    compared_attributes: tuple[str, ...] = ()
    totals: TotalsConfig | None = None

    @property
    def expected_sources(self) -> tuple[str, ...]:
        """The sources that are waited for, in the order of the file."""
        return tuple(name for name, source in self.sources.items() if source.expected)

    def rule_set(self) -> RuleSet:
        """The first rule set: the file's rules, and what its sources and attributes mean to a judgement."""
        return replace(
            self.rules.to_rule_set(self.expected_sources),
            compared_attributes=self.compared_attributes,
            calendars={name: zone for name, one in self.sources.items() if (zone := one.calendar) is not None},
            row_sources=tuple(name for name, one in self.sources.items() if one.has_rows),
        )


@dataclass(frozen=True, slots=True)
class ReconConfig:
    """A whole `recon.yaml`. The first reconciliation is the default one."""

    file: str
    reconciliations: Mapping[str, ReconciliationConfig]

    @property
    def default(self) -> ReconciliationConfig:
        """The reconciliation that is meant where none is named."""
        return next(iter(self.reconciliations.values()))
