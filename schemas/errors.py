"""The tree of errors, which is the policy too: transient is retried, a bad record set aside, a bug stops us."""

from __future__ import annotations

import enum


class ReconError(Exception):
    """Base of every error that recon raises on purpose."""


class TransientError(ReconError):
    """A dependency did not answer; the same call may succeed later, and nothing was lost."""


class RegistryUnavailableError(TransientError):
    """The schema registry did not answer, so no record may be judged malformed."""


class StoreUnavailableError(TransientError):
    """PostgreSQL did not take the flush; it will be offered again unchanged."""


class KafkaUnavailableError(TransientError):
    """Kafka did not answer; no watermark moves until it does."""


class ShardLostError(TransientError):
    """A matcher shard is gone or restarting; the reader goes back to the position that its successor has."""


class IncompatibleSchemaError(ReconError):
    """A registered schema of which no record can be read as a TransactionEvent; its records are set aside."""

    def __init__(self, schema_id: int, why: str) -> None:
        self.schema_id = schema_id
        self.why = why
        super().__init__(f"schema id {schema_id}: {why}")


class LostRecordsError(ReconError):
    """Kafka no longer holds records that were never read: retention was shorter than the backlog."""

    def __init__(self, topic: str, partition: int, position: int, earliest: int) -> None:
        self.topic = topic
        self.partition = partition
        self.position = position
        self.earliest = earliest
        super().__init__(
            f"{topic}[{partition}]: wanted offset {position}, the log starts at {earliest};"
            f" `recon topics accept {topic}` goes on without what is lost"
        )


class TopicRecreatedError(ReconError):
    """A topic was deleted and made anew: its offsets begin again, so the stored positions say nothing about it."""

    def __init__(self, topic: str, known_id: str, found_id: str) -> None:
        self.topic = topic
        self.known_id = known_id
        self.found_id = found_id
        super().__init__(
            f"{topic} was deleted and made anew: its id is {found_id}, the ledger's positions are those of {known_id};"
            f" `recon topics accept {topic}` reads the new one from its beginning"
        )


class FencedError(ReconError):
    """Another owner holds these key groups: this one rolls back and exits."""

    def __init__(self, key_group_from: int, epoch: int) -> None:
        self.key_group_from = key_group_from
        self.epoch = epoch
        super().__init__(f"key groups from {key_group_from}: epoch {epoch} is no longer the owner's")


class GapError(ReconError):
    """A batch starts beyond the shard's position: taking it would lose what lies between."""

    def __init__(self, topic: str, partition: int, position: int, start: int) -> None:
        self.topic = topic
        self.partition = partition
        self.position = position
        self.start = start
        super().__init__(f"{topic}[{partition}]: batch starts at {start}, position is {position}")


class InvalidRulesError(ReconError):
    """A rule set that cannot be applied."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field} {problem}")


class DeadLetterReason(enum.StrEnum):
    """Why a record was set aside; the value is stored in `dead_letters.reason`."""

    NOT_FRAMED = "not_framed"  # shorter than five bytes, or the magic byte is not 0
    UNKNOWN_SCHEMA = "unknown_schema"  # the registry has no schema under this id
    INCOMPATIBLE_SCHEMA = "incompatible_schema"  # registered, but not readable as a TransactionEvent
    MALFORMED = "malformed"  # the bytes are not one whole record of the writer's schema
    WRONG_SOURCE = "wrong_source"  # the source does not own the topic
    AMBIGUOUS_SOURCE = "ambiguous_source"  # the record fits two sources of one reconciliation
    BAD_ID = "bad_id"  # empty, longer than ID_BYTES_MAX, or with a NUL
    BAD_AMOUNT = "bad_amount"  # negative or above AMOUNT_MINOR_MAX
    UNKNOWN_CURRENCY = "unknown_currency"  # not an ISO 4217 code
    ABSURD_TIME = "absurd_time"  # before EVENT_TIME_MIN_MS, or more than EVENT_TIME_LEAD_MAX_MS ahead of arrival
