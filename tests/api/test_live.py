"""The live feed on real Redis and Keycloak: two replicas, reconnects, slow clients, expired tokens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import redis
import socketio
from redis.asyncio import Redis

from api.live import build_live
from api.options import ApiOptions
from api.services import Ports

from .conftest import Ledger, Server, Tokens, TrustedKey

pytestmark = pytest.mark.stack

# As the matchers publish: number, stream and channel in one step.
PUBLISH = """
local seq = redis.call('incr', KEYS[1])
redis.call('xadd', KEYS[2], 'maxlen', '~', ARGV[2], seq .. '-0', 'd', ARGV[1])
redis.call('publish', KEYS[3], seq .. ' ' .. ARGV[1])
return seq
"""


class Matchers:
    """Publishes flushes."""

    def __init__(self, options: ApiOptions) -> None:
        self.prefix = options.redis_prefix
        self.redis = redis.Redis.from_url(options.redis_url)

    def flush(self, count: int = 1, *, padding: int = 0, published: bool = True) -> int:
        """One flush with so many mismatches; unpublished ones only get a number and a place in the stream."""
        results = [
            {
                "txn_id": f"T{number}" + "x" * padding,
                "revision": 1,
                "verdict": "MISMATCHED",
                "final": True,
                "breaks": ["AMOUNT"],
                "missing_sources": [],
                "late_sources": [],
                "legs": {"CORE": {"amount_minor": 5, "currency": "EUR", "status": "SUCCESS", "event_time": 1}},
                "currency": "EUR",
                "amount_minor": 5,
                "spread_minor": 1,
                "first_arrival": 1,
                "last_arrival": 2,
                "decided_at": 3,
                "rules_version": 1,
            }
            for number in range(count)
        ]
        body = {"shard": 0, "flush": 1, "at": int(time.time() * 1000), "omitted": 0, "counts": {"MISMATCHED": count}}
        channel = "verdicts" if published else "nowhere"
        keys = [self.prefix + "feed:seq", self.prefix + "feed", self.prefix + channel]
        return int(self.redis.eval(PUBLISH, 3, *keys, json.dumps(body | {"results": results}), 5_000))  # type: ignore[arg-type]


class Client:
    """A client that notes what it hears."""

    def __init__(self, acknowledges: bool = True) -> None:
        self.sio = socketio.AsyncClient(reconnection=False)
        self.heard: list[tuple[str, Any]] = []
        self.gone = asyncio.Event()
        self.acknowledges = acknowledges
        self.sio.on("*", self._hear)
        self.sio.on("feed.mark", self._mark)
        self.sio.on("disconnect", self._lost)

    async def _hear(self, event: str, data: Any = None) -> None:
        self.heard.append((event, data))

    async def _mark(self, data: Any) -> bool:
        self.heard.append(("feed.mark", data))
        if not self.acknowledges:
            await asyncio.sleep(3_600)
        return True

    async def _lost(self, *_: Any) -> None:
        self.gone.set()

    def of(self, event: str) -> list[Any]:
        return [data for name, data in self.heard if name == event]

    def seqs(self) -> list[int]:
        return [data["seq"] for data in self.of("verdict")]

    async def until(self, condition: Callable[[], Any], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.heard[-5:]
            await asyncio.sleep(0.02)


@asynccontextmanager
async def connected(server: Server, acknowledges: bool = True, **auth: Any) -> AsyncIterator[Client]:
    client = Client(acknowledges)
    await client.sio.connect(server.url, auth=auth, transports=["websocket"], wait_timeout=10)
    try:
        await client.until(lambda: client.of("hello"))
        yield client
    finally:
        client.sio._event_queues = {}  # type: ignore[attr-defined]
        await client.sio.disconnect()


async def refused(server: Server, **auth: Any) -> dict[str, Any]:
    client = Client()
    reasons: list[Any] = []
    client.sio.on("connect_error", reasons.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.sio.connect(server.url, auth=auth, transports=["websocket"], wait_timeout=10)
    await client.sio.disconnect()
    return reasons[0]["data"] if reasons else {}


@pytest.fixture(scope="module")
def matchers(options: ApiOptions) -> Any:
    made = Matchers(options)
    yield made
    made.redis.close()


async def test_every_replica_hears_every_flush_once(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens
) -> None:
    async with (
        connected(live_servers[0], token=tokens("vera")) as one,
        connected(live_servers[1], token=tokens("anna")) as two,
    ):
        sent = [matchers.flush() for _ in range(20)]
        for client in (one, two):
            await client.until(lambda client=client: client.seqs()[-1:] == sent[-1:])
            assert client.seqs() == sent
        row = one.of("verdict")[0]["results"][0]
        assert (row["txn_id"], row["severity"], row["sources"]) == ("T0", "medium", ["CORE"])
        assert row["differing"] == {}
        assert (one.of("hello")[0]["role"], two.of("hello")[0]["role"]) == ("viewer", "analyst")


async def test_without_a_valid_token_nobody_listens(
    live_servers: list[Server], options: ApiOptions, trusted_key: TrustedKey
) -> None:
    expired = trusted_key.sign(options, iat=1_700_000_000, exp=1_700_000_300)
    for auth in (
        {},
        {"token": "x"},
        {"token": expired},
        {"token": trusted_key.sign(options, aud="other")},
        {"token": 7},
    ):
        assert (await refused(live_servers[0], **auth))["status"] == 401
    without_role = trusted_key.sign(options, realm_access={"roles": []})
    assert (await refused(live_servers[0], token=without_role))["status"] == 403
    assert (await refused(live_servers[0], token=trusted_key.sign(options), topics=["everything"]))["status"] == 422


async def test_a_client_that_comes_back_gets_what_it_missed(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens
) -> None:
    async with connected(live_servers[0], token=tokens("vera")) as client:
        first = matchers.flush()
        await client.until(lambda: client.seqs() == [first])
    missed = [matchers.flush() for _ in range(7)]
    await asyncio.sleep(0.3)
    async with connected(live_servers[1], token=tokens("vera"), last_seq=first) as again:  # on the other replica
        assert again.of("hello")[0]["replay"] == "missed"
        newest = matchers.flush()
        await again.until(lambda: again.seqs()[-1:] == [newest])
        assert again.seqs() == [*missed, newest]


@pytest.mark.parametrize("last_seq", [0, 10**9], ids=["too far behind", "never was"])
async def test_a_client_that_cannot_be_served_from_memory_is_told_to_fetch(
    last_seq: int, options: ApiOptions, ports: Ports, ledger: Ledger, matchers: Matchers, tokens: Tokens
) -> None:
    for _ in range(12):
        matchers.flush()
    limits = replace(options.limits, feed_ring_messages=5)
    with Server(build_live(replace(options, limits=limits, replica="short"), ports)) as server:
        await asyncio.sleep(0.5)
        async with connected(server, token=tokens("vera"), last_seq=last_seq) as client:
            assert client.of("hello")[0]["replay"] == "resync"
            newest = matchers.flush()
            await client.until(lambda: client.seqs() == [newest])


async def test_a_gap_in_the_channel_is_filled_from_the_stream(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens
) -> None:
    async with connected(live_servers[0], token=tokens("vera")) as client:
        sent = [matchers.flush(), matchers.flush(published=False), matchers.flush(published=False), matchers.flush()]
        await client.until(lambda: len(client.seqs()) == 4)
        assert client.seqs() == sent


async def test_a_gap_that_cannot_be_filled_is_told(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens
) -> None:
    async with connected(live_servers[0], token=tokens("vera")) as client:
        first = matchers.flush()
        await client.until(lambda: client.seqs() == [first])
        matchers.redis.incr(matchers.prefix + "feed:seq")
        after = matchers.flush()
        await client.until(lambda: client.seqs() == [first, after])
        assert client.of("resync")[-1]["reason"] == "too_far_behind"


async def test_a_lost_connection_to_redis_makes_everybody_fetch(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens, stack: Any
) -> None:
    async with connected(live_servers[0], token=tokens("vera")) as client:
        admin = Redis(**stack.redis.connect_kwargs("admin"))
        await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await admin.aclose()
        await client.until(lambda: client.of("resync"))
        assert client.of("resync")[0]["reason"] == "feed_interrupted"
        newest = matchers.flush()
        await client.until(lambda: client.seqs() == [newest])


async def test_topics_are_chosen_and_roles_bound_them(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens
) -> None:
    async with connected(live_servers[0], token=tokens("vera"), topics=["exception", "pipeline"]) as viewer:
        assert viewer.of("hello")[0]["topics"] == ["pipeline"]
        matchers.flush()
        await asyncio.sleep(0.5)
        answer = await viewer.sio.call("subscribe", {"topics": ["verdict"]}, timeout=5)
        assert answer == {"ok": True, "topics": ["verdict"]}
        newest = matchers.flush()
        await viewer.until(lambda: viewer.seqs() == [newest])
        assert (await viewer.sio.call("subscribe", {"topics": ["x"]}, timeout=5))["ok"] is False


async def test_the_desk_and_the_pipeline_are_told_to_those_who_may_hear(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens
) -> None:
    topics = ["exception", "pipeline", "incident"]
    async with (
        connected(live_servers[0], token=tokens("vera"), topics=topics) as viewer,
        connected(live_servers[1], token=tokens("anna"), topics=topics) as analyst,
    ):
        desk = {"event": "exception", "data": {"txn_id": "T", "state": "open"}}
        matchers.redis.publish(matchers.prefix + "desk", json.dumps(desk))
        matchers.redis.publish(matchers.prefix + "pipeline", json.dumps({"at": 1, "state": "running"}))
        for client in (viewer, analyst):
            await client.until(lambda client=client: client.of("pipeline"))
        await analyst.until(lambda: analyst.of("exception"))
        await asyncio.sleep(0.2)
        assert viewer.of("exception") == []


async def test_the_summary_is_sent_by_itself(live_servers: list[Server], tokens: Tokens) -> None:
    async with connected(live_servers[0], token=tokens("vera")) as client:
        await client.until(lambda: client.of("summary"))
        assert client.of("summary")[0]["window_ms"] == 3_600_000


async def test_an_expired_token_ends_the_connection_unless_it_is_refreshed(
    options: ApiOptions, ports: Ports, ledger: Ledger, trusted_key: TrustedKey
) -> None:
    tokens_options = replace(options.tokens, leeway_s=0)
    with Server(build_live(replace(options, tokens=tokens_options, replica="strict"), ports)) as server:
        soon = int(time.time()) + 3

        def token(**claims: Any) -> str:
            return trusted_key.sign(options, **claims)

        async with connected(server, token=token(exp=soon)) as left, connected(server, token=token(exp=soon)) as kept:
            other = await kept.sio.call("auth.refresh", {"token": token(sub="another")}, timeout=5)
            assert other["ok"] is False
            assert (await kept.sio.call("auth.refresh", {"token": "x"}, timeout=5))["problem"]["status"] == 401
            answer = await kept.sio.call("auth.refresh", {"token": token(exp=soon + 60)}, timeout=5)
            assert answer == {"ok": True, "token_expires": (soon + 60) * 1000}
            await asyncio.wait_for(left.gone.wait(), 8)
            assert left.of("bye") == [{"reason": "expired"}]
            assert not kept.gone.is_set()


async def test_a_client_that_does_not_keep_up_is_bounded_and_then_dropped(
    options: ApiOptions, ports: Ports, ledger: Ledger, matchers: Matchers, tokens: Tokens
) -> None:
    limits = replace(options.limits, unacked_bytes=100_000, mark_bytes=20_000, slow_ms=1_500)
    app = build_live(replace(options, limits=limits, replica="bounded"), ports)
    with Server(app) as server:
        async with (
            connected(server, acknowledges=False, token=tokens("vera"), topics=["verdict"]) as slow,
            connected(server, token=tokens("anna"), topics=["verdict"]) as quick,
        ):
            sent = []
            for _ in range(60):
                sent.append(matchers.flush(10, padding=500))
                await asyncio.sleep(0.01)
            await quick.until(lambda: quick.seqs()[-1:] == sent[-1:])
            assert quick.seqs() == sent
            assert not quick.gone.is_set()
            await asyncio.wait_for(slow.gone.wait(), 10)
            assert slow.of("bye") == [{"reason": "slow"}]
            received = len(json.dumps(slow.of("verdict")))
            assert received < 3 * limits.unacked_bytes


async def test_a_client_that_lags_catches_up_without_a_gap(
    options: ApiOptions, ports: Ports, ledger: Ledger, matchers: Matchers, tokens: Tokens
) -> None:
    """It acknowledges late, but in time: it leaves the fast lane, catches up and returns."""
    limits = replace(options.limits, unacked_bytes=60_000, mark_bytes=20_000, slow_ms=60_000)
    with Server(build_live(replace(options, limits=limits, replica="patient"), ports)) as server:
        async with connected(server, token=tokens("vera"), topics=["verdict"]) as client:

            async def late(data: Any) -> bool:
                await asyncio.sleep(0.4)
                return True

            # A server that has just begun may still be reading what was there before, and then sends its client on.
            first = matchers.flush()
            await client.until(
                lambda: first in client.seqs() or any(told["seq"] >= first for told in client.of("resync")), 30
            )
            heard = len(client.seqs())
            client.sio.on("feed.mark", late)
            sent = [matchers.flush(10, padding=500) for _ in range(40)]
            await client.until(lambda: client.seqs()[-1:] == sent[-1:], 60)
            assert client.seqs()[heard:] == sent


def contiguous(batches: list[Any], after: int) -> bool:
    """Whether the batches hold every flush after a number once and in order."""
    for batch in batches:
        if batch["first_seq"] != after + 1:
            return False
        after = batch["seq"]
    return True


async def test_a_client_that_asks_for_it_gets_flushes_together(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens
) -> None:
    async with (
        connected(live_servers[0], token=tokens("vera"), topics=["verdict"], merge=True) as merging,
        connected(live_servers[0], token=tokens("anna"), topics=["verdict"]) as plain,
    ):
        assert (merging.of("hello")[0]["merge"], plain.of("hello")[0]["merge"]) == (True, False)
        before = merging.of("hello")[0]["seq"]
        alone = matchers.flush()
        await merging.until(lambda: merging.seqs() == [alone])
        sent = [alone, *(matchers.flush(2) for _ in range(60))]
        await merging.until(lambda: merging.seqs()[-1:] == sent[-1:])
        await plain.until(lambda: plain.seqs()[-1:] == sent[-1:])
        batches = merging.of("verdict")
        assert plain.seqs() == sent
        assert [batch["first_seq"] for batch in plain.of("verdict")] == sent
        assert contiguous(batches, before)
        assert len(batches) < len(sent)
        assert sum(len(batch["results"]) for batch in batches) == 121
        assert sum(batch["counts"]["MISMATCHED"] for batch in batches) == 121


async def test_a_merging_client_comes_and_goes_without_a_gap(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens
) -> None:
    """Flushes never pause while it connects, leaves and comes back to the other replica."""
    publishing = True

    async def publish() -> int:
        newest = 0
        while publishing:
            newest = await asyncio.to_thread(matchers.flush)
            await asyncio.sleep(0.005)
        return newest

    going = asyncio.create_task(publish())
    last: int | None = None
    for turn in range(6):
        resume = {} if last is None else {"last_seq": last}
        async with connected(live_servers[turn % 2], token=tokens("vera"), merge=True, **resume) as client:
            hello = client.of("hello")[0]
            await client.until(lambda client=client: len(client.seqs()) > 5)
            assert hello["replay"] in {"none", "missed"}
            assert contiguous(client.of("verdict"), hello["seq"] if last is None else last)
            assert client.of("resync") == []
            last = client.seqs()[-1]
        await asyncio.sleep(0.05)
    publishing = False
    assert await going >= (last or 0)


async def test_a_merging_client_that_lags_catches_up_without_a_gap(
    options: ApiOptions, ports: Ports, ledger: Ledger, matchers: Matchers, tokens: Tokens
) -> None:
    limits = replace(options.limits, unacked_bytes=60_000, mark_bytes=20_000, slow_ms=8_000, merge_ms=20)
    with Server(build_live(replace(options, limits=limits, replica="lenient"), ports)) as server:
        async with connected(server, token=tokens("vera"), topics=["verdict"], merge=True) as client:

            async def late(data: Any) -> bool:
                await asyncio.sleep(0.2)
                return True

            client.sio.on("feed.mark", late)
            before = client.of("hello")[0]["seq"]
            sent = []
            for _ in range(60):
                sent.append(matchers.flush(10, padding=500))
                await asyncio.sleep(0.01)
            await client.until(lambda: client.seqs()[-1:] == sent[-1:], 30)
            assert contiguous(client.of("verdict"), before)


async def test_a_replica_that_goes_away_says_so_and_another_takes_over(
    options: ApiOptions, ports: Ports, live_servers: list[Server], matchers: Matchers, tokens: Tokens
) -> None:
    with Server(build_live(replace(options, replica="leaving"), ports)) as leaving:
        client = Client()
        auth = {"token": tokens("vera")}
        await client.sio.connect(leaving.url, auth=auth, transports=["websocket"], wait_timeout=10)
        await client.until(lambda: client.of("hello"))
        last = matchers.flush()
        await client.until(lambda: client.seqs() == [last])
        await leaving.app.live.drain()
        await asyncio.wait_for(client.gone.wait(), 5)
        assert client.of("bye") == [{"reason": "draining"}]
        assert (await refused(leaving, token=tokens("vera")))["status"] == 503
        await client.sio.disconnect()
    missed = matchers.flush()
    async with connected(live_servers[0], token=tokens("vera"), last_seq=last) as again:
        await again.until(lambda: again.seqs() == [missed])


async def test_one_caller_opens_only_so_many_sockets(
    options: ApiOptions, ports: Ports, ledger: Ledger, tokens: Tokens
) -> None:
    limits = replace(options.limits, sockets_per_caller=2)
    with Server(build_live(replace(options, limits=limits, replica="few"), ports)) as server:
        async with connected(server, token=tokens("vera")), connected(server, token=tokens("vera")):
            assert (await refused(server, token=tokens("vera")))["status"] == 429
            async with connected(server, token=tokens("anna")):
                pass


async def test_listening_is_in_the_audit_trail(live_servers: list[Server], tokens: Tokens, ledger: Ledger) -> None:
    async with connected(live_servers[0], token=tokens("arno"), topics=["verdict"]):
        pass
    await asyncio.sleep(0.5)
    rows = ledger.sql("select action, details from audit_logs where actor = 'arno' order by seq desc limit 2")
    assert {row["action"] for row in rows} == {"live.connect", "live.disconnect"}


async def test_polling_is_refused(live_servers: list[Server], tokens: Tokens) -> None:
    client = socketio.AsyncClient(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(live_servers[0].url, auth={"token": tokens("vera")}, transports=["polling"])
    await client.disconnect()


async def test_a_silent_source_opens_an_incident_and_closes_it(
    live_servers: list[Server], matchers: Matchers, tokens: Tokens, ledger: Ledger
) -> None:
    def report(*, silent: bool) -> None:
        sources = [{"name": "CORE", "silent": silent, "last_event_ms": 5, "events_per_s": 0}]
        body = {"at": int(time.time() * 1000), "state": "running", "sources": sources}
        matchers.redis.set(matchers.prefix + "pipeline", json.dumps(body), ex=30)

    async with connected(live_servers[0], token=tokens("vera")) as client:
        report(silent=True)
        await client.until(lambda: client.of("incident"), 15)
        opened = client.of("incident")[0]
        assert (opened["kind"], opened["subject"], opened["closed_at"]) == ("source_silent", "CORE", None)
        assert opened["detail"] == "nothing since 1970-01-01T00:00:00Z"
        report(silent=False)
        await client.until(lambda: len(client.of("incident")) == 2, 15)
        assert client.of("incident")[1]["closed_at"] is not None
    matchers.redis.delete(matchers.prefix + "pipeline")
