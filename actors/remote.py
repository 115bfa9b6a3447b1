"""Applies Ray: the plain classes as actors, and their handles as the ports that the plain classes ask for.

Everything Ray-specific about readers and shards is here. A batch crosses as one numpy array (zero-copy out of the
object store; a pickled frame would be copied twice) and a small header. Refusals come back as values, because an
exception that crosses processes loses its type.
"""

from __future__ import annotations

import gc
import io
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
import polars as pl
import ray
import structlog
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from actors.matching.frames import empty
from actors.ports import Batch, DeadLetter, OffsetRange, TopicPartition
from actors.reader import SENT_SCHEMA, PartitionReader
from actors.shard import MatcherShard
from schemas.errors import GapError, ShardLostError, TransientError

NAMESPACE: Final = "recon"
CALL_TIMEOUT_S: Final = 60.0  # a shard that does not say where it is for this long is treated as lost
QUESTION_TIMEOUT_S: Final = 15.0  # one that takes no batch and does not answer a question for this long, too
_BUILD_RETRY_S: Final = 1.0
_T = TypeVar("_T")
_FAULT_EXIT_CODE: Final = 70  # sysexits EX_SOFTWARE; Ray starts a successor, which claims a new epoch
# One polars thread an actor: parallelism is between actors. No backtraces: a malformed record makes polars panic, which
# is caught and means "read it message by message".
WORKER_ENVIRONMENT: Final = {
    "POLARS_MAX_THREADS": "1",
    "RUST_BACKTRACE": "0",
    "OMP_NUM_THREADS": "1",
    # Buffers of some MiB come and go with every batch; given back to the kernel each time, they are cleared each time.
    "MALLOC_MMAP_THRESHOLD_": str(64 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024 * 1024),
    # The same for polars' own allocator, which else gives back what lay idle for half a second: a poll's time.
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:5000",
}
# Tens of thousands of records are alive at once and none of them is garbage: at Python's 700 the collector walks them
# over and over.
_GC_THRESHOLDS: Final = (200_000, 20, 20)


_NO_EVENTS: Final = empty(SENT_SCHEMA)
# Arrow's stream format is read without a query plan, which is most of the work for few rows (0.1 against 0.8 ms); its
# file format is the quicker one for many.
_STREAMED_ROWS_MAX: Final = 4_000
_IPC_FILE_MAGIC: Final = b"ARROW1"


@dataclass(frozen=True, slots=True)
class Header:
    """All of a batch but its events."""

    ranges: list[OffsetRange]
    watermarks_ms: dict[TopicPartition, int]
    dead_letters: list[DeadLetter]
    partition_counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Refused:
    """A batch that starts above the shard's position."""

    topic: str
    partition: int
    position: int
    start: int


def pack(batch: Batch) -> tuple[Header, Any]:
    """A batch as what crosses between processes: a header, and events if any as Arrow IPC bytes in a numpy array."""
    header = Header(
        list(batch.ranges), dict(batch.watermarks_ms), list(batch.dead_letters), dict(batch.partition_counts)
    )
    if batch.events.is_empty():
        return header, None
    buffer = io.BytesIO()
    if len(batch.events) <= _STREAMED_ROWS_MAX:
        batch.events.write_ipc_stream(buffer, compat_level=pl.CompatLevel.newest())
    else:
        batch.events.write_ipc(buffer, compat_level=pl.CompatLevel.newest())
    return header, np.frombuffer(buffer.getbuffer(), dtype=np.uint8)


def unpack(header: Header, events: Any) -> Batch:
    """The inverse of `pack`."""
    read: Callable[[io.BytesIO], pl.DataFrame] = pl.read_ipc
    if events is not None and bytes(events[: len(_IPC_FILE_MAGIC)]) != _IPC_FILE_MAGIC:
        read = pl.read_ipc_stream
    return Batch(
        ranges=header.ranges,
        watermarks_ms=header.watermarks_ms,
        events=_NO_EVENTS if events is None else read(io.BytesIO(events)),
        dead_letters=header.dead_letters,
        partition_counts=header.partition_counts,
    )


def _built(build: Callable[[], _T]) -> _T:
    """Build the actor's inside, patiently. An exception out of a constructor would end an actor for good.

    Dependencies that do not answer are waited for; anything else ends the process, and Ray starts another.
    """
    log = structlog.get_logger(__name__)
    gc.set_threshold(*_GC_THRESHOLDS)
    while True:
        try:
            built = build()
        except TransientError as error:
            log.warning("actor_waits", error=f"{type(error).__name__}: {error}")
            time.sleep(_BUILD_RETRY_S)
        except BaseException as error:
            log.exception("actor_cannot_start")
            time.sleep(_BUILD_RETRY_S)
            _die(error)
        else:
            gc.freeze()  # modules and what they hold stay; no collection need look at them again
            return built


def _die(error: BaseException) -> NoReturn:
    """End the process at once: nothing this actor still holds may be written, and its successor reads it all back."""
    structlog.get_logger(__name__).error("actor_exits", error=f"{type(error).__name__}: {error}")
    os._exit(_FAULT_EXIT_CODE)


@ray.remote(max_restarts=-1, max_task_retries=0, num_cpus=0, concurrency_groups={"push": 1, "control": 4})  # type: ignore[call-overload]
class ShardActor:
    """A MatcherShard. Batches run one at a time, in order; questions are answered beside them."""

    def __init__(self, build: Callable[[Callable[[BaseException], None]], MatcherShard]) -> None:
        """`build` makes the shard; it runs again after a restart, and then finds what the ledger has."""
        self._shard = _built(lambda: build(_die))

    @ray.method(concurrency_group="push")
    def push(self, header: Header, events: Any) -> dict[TopicPartition, int] | Refused:
        """See MatcherShard.push; a gap comes back as Refused."""
        try:
            return self._shard.push(unpack(header, events))
        except GapError as gap:
            return Refused(gap.topic, gap.partition, gap.position, gap.start)

    @ray.method(concurrency_group="control")
    def positions(self) -> dict[TopicPartition, int]:
        """See MatcherShard.positions."""
        return self._shard.positions()

    @ray.method(concurrency_group="control")
    def drain(self, timeout_s: float) -> bool:
        """See MatcherShard.drain."""
        return self._shard.drain(timeout_s)

    @ray.method(concurrency_group="control")
    def status(self) -> dict[str, Any]:
        """See MatcherShard.status."""
        return asdict(self._shard.status())


@ray.remote(max_restarts=-1, max_task_retries=0, num_cpus=0, max_concurrency=4)  # type: ignore[call-overload]
class ReaderActor:
    """A PartitionReader that reads from the moment it exists; a restart begins again where the shards are."""

    def __init__(self, build: Callable[[], PartitionReader]) -> None:
        """`build` makes the reader; its loop is a thread of this process, because a restart re-runs only this."""
        self._reader = _built(build)
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._reader.run()
        except BaseException as error:  # noqa: BLE001 (whatever it is, a successor starts from the ledger)
            _die(error)

    def status(self) -> dict[str, Any]:
        """See PartitionReader.status."""
        return asdict(self._reader.status())

    def pause(self) -> None:
        """See PartitionReader.pause."""
        self._reader.pause()

    def resume(self) -> None:
        """See PartitionReader.resume."""
        self._reader.resume()

    def assign(self, partitions: tuple[TopicPartition, ...]) -> None:
        """See PartitionReader.assign. A restart forgets it, and the supervisor says it again."""
        self._reader.assign(partitions)

    def idle(self) -> bool:
        """See PartitionReader.idle."""
        return self._reader.idle()

    def stop(self) -> None:
        """See PartitionReader.stop."""
        self._reader.stop()
        self._thread.join(timeout=5.0)


class RayTicket:
    """A Ticket (actors.ports) on an object reference."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def done(self, timeout_s: float = 0.0) -> bool:
        """See actors.ports.Ticket."""
        ready, _ = ray.wait([self._reference], timeout=timeout_s)
        return bool(ready)

    def result(self) -> dict[TopicPartition, int]:
        """See actors.ports.Ticket."""
        answer = _answer(self._reference)
        if isinstance(answer, Refused):
            raise GapError(answer.topic, answer.partition, answer.position, answer.start)
        positions: dict[TopicPartition, int] = answer
        return positions


class RayShard:
    """A ShardClient (actors.ports) on a named actor."""

    def __init__(self, name: str, key_group_from: int, key_group_to: int) -> None:
        self.name = name
        self.key_group_from = key_group_from
        self.key_group_to = key_group_to
        self._handle: Any = None

    def send(self, batch: Batch) -> RayTicket:
        """See actors.ports.ShardClient."""
        return RayTicket(self._actor().push.remote(*pack(batch)))

    def positions(self) -> dict[TopicPartition, int]:
        """See actors.ports.ShardClient."""
        positions: dict[TopicPartition, int] = _answer(self._actor().positions.remote())
        return positions

    def alive(self) -> bool:
        """See actors.ports.ShardClient. Questions are answered beside the batches, so also when those are stuck."""
        try:
            ray.get(self._actor().positions.remote(), timeout=QUESTION_TIMEOUT_S)
        except (RayError, ShardLostError):
            return False
        return True

    def _actor(self) -> Any:
        if self._handle is None:
            try:
                self._handle = ray.get_actor(self.name, namespace=NAMESPACE)
            except ValueError as error:
                raise ShardLostError(f"{self.name} does not exist yet") from error
        return self._handle


def _answer(reference: Any) -> Any:
    """The value of a reference. Raises ShardLostError when the actor is gone, silent, or has stopped for a fault."""
    try:
        return ray.get(reference, timeout=CALL_TIMEOUT_S)
    except (RayActorError, GetTimeoutError) as error:
        raise ShardLostError(f"{type(error).__name__}") from error
    except RayError as error:
        raise ShardLostError(str(error).splitlines()[-1]) from error


def named(actor: Any, name: str, options: Mapping[str, Any] | None = None) -> Any:
    """An actor class with the options that every actor of ours has: detached, one of its name, found or made."""
    return actor.options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        runtime_env={"env_vars": WORKER_ENVIRONMENT},
        **(options or {}),
    )
