"""The live feed: Socket.IO over websockets, fed from Redis by each replica for its own sockets.

Every replica subscribes to the feed itself, so broadcasts need no bus between replicas, and what a replica reads from
Redis is never more than JSON. Sockets that keep up are at the head and get each message encoded once for all. One
whose unacknowledged bytes pass its window falls behind; when it acknowledges, it catches up from the ring and returns;
when it does not in time, it is dropped. Memory per socket is bounded by the window, end to end through any proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import engineio
import orjson
import socketio
import structlog

from api.access import Role
from api.audit_log import audit_entry
from api.caller import Caller
from api.differences import differing
from api.feed import FeedMerge, FeedMessage, FeedRing, LiveSocket
from api.feed_reader import DESK, PIPELINE, FeedReader
from api.options import ApiOptions
from api.problems import ProblemError, TooManyError, UnavailableError
from api.services import Ports, Services, connect_redis
from api.store.overview import pipeline_of
from api.times import millis, now
from api.watch import IncidentWatch
from schemas.metrics import (
    FEED_AGE_SECONDS,
    FEED_MESSAGES,
    FEED_RESYNCS,
    FEED_SEQ,
    SOCKETS,
    SOCKETS_DROPPED,
    SOCKETS_LAGGING,
)

log = structlog.get_logger("api.live")

TOPICS: Final = ("verdict", "summary", "pipeline", "incident", "exception")
TOPICS_DEFAULT: Final = frozenset(TOPICS)
NAMESPACE: Final = "/"
SUMMARY_WINDOW_MS: Final = 3_600_000
TICK_S: Final = 0.5
OLD_FLUSH_S: Final = 60.0
BYE_S: Final = 0.2  # time for the goodbye to leave before the socket is closed


FEED_WAIT_S: Final = 5.0
"""How long a greeting waits for a replica that does not follow the feed yet, in seconds; Redis may be away longer."""


class Json:
    """orjson under the names that python-socketio calls."""

    @staticmethod
    def dumps(value: Any, *_: Any, **__: Any) -> str:
        """Encode."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, *_: Any, **__: Any) -> Any:
        """Decode."""
        return orjson.loads(text)


class Live:
    """One replica's sockets."""

    def __init__(self, services: Services) -> None:
        options = services.options
        self.services = services
        self.limits = options.limits
        self.ring = FeedRing(self.limits.feed_ring_messages, self.limits.feed_ring_bytes)
        self.sockets: dict[str, LiveSocket] = {}
        self._merge = FeedMerge(self.limits.merge_ms, self.limits.merge_bytes)
        self._merge_timer: asyncio.TimerHandle | None = None
        self._merging = asyncio.Lock()
        self._joining: Counter[str] = Counter()
        self._per_caller: Counter[str] = Counter()
        self._watch = IncidentWatch(self.services)
        self._subscriber = connect_redis(options, subscriber=True)
        self._reader = FeedReader(self._subscriber, options.redis_prefix, self._on_flush, self._on_other, self._on_gap)
        self._tasks: list[asyncio.Task[Any]] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._pipeline_sent_at = 0
        self._draining = False
        self._follows_feed = asyncio.Event()
        self.sio = socketio.AsyncServer(
            async_mode="asgi",
            transports=["polling", "websocket"] if options.long_polling else ["websocket"],
            cors_allowed_origins=list(options.origins) or None,
            json=Json,
            max_http_buffer_size=self.limits.socket_message_bytes,
            ping_interval=self.limits.ping_interval_s,
            ping_timeout=self.limits.ping_timeout_s,
            http_compression=False,
            logger=False,
            engineio_logger=False,
        )
        self.sio.on("connect", self._on_connect)
        self.sio.on("disconnect", self._on_disconnect)
        self.sio.on("subscribe", self._on_subscribe)
        self.sio.on("auth.refresh", self._on_refresh)

    # Life

    async def start(self) -> None:
        """Start following the feed; needs a running loop, and services that are started."""
        loops = (self._reader.run(), self._keep_sockets(), self._send_summaries(), self._watch.run())
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """Say goodbye, then stop."""
        await self.drain()
        if self._merge_timer is not None:
            self._merge_timer.cancel()
        for task in [*self._tasks, *self._background]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._background, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._subscriber.aclose()
        with contextlib.suppress(Exception):
            await self.sio.shutdown()

    async def drain(self) -> None:
        """Send every client elsewhere, and take no new ones."""
        self._draining = True
        await self._drop(list(self.sockets.values()), "draining")

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # Clients

    async def _on_connect(self, sid: str, environ: Mapping[str, Any], auth: Any) -> None:
        try:
            caller = await self._authenticate(environ, auth)
            topics = _topics(auth.get("topics"), caller)
            last_seq = auth.get("last_seq")
            resumes = last_seq if type(last_seq) is int and 0 <= last_seq < 2**53 else None
            self._check_room(caller)
            merges = auth.get("merge") is True
            details = {"topics": sorted(topics), "last_seq": resumes}
            await self.services.audit.write(audit_entry(caller, "live.connect", "live_feed", "", details))
        except ProblemError as error:
            raise socketio.exceptions.ConnectionRefusedError(error.title, _problem(error)) from error
        except (TypeError, ValueError, AttributeError) as error:
            problem = {"type": "/problems/invalid-request", "title": "Not valid", "status": 422, "detail": ""}
            raise socketio.exceptions.ConnectionRefusedError("Not valid", problem) from error
        seq = self.ring.newest if resumes is None else resumes
        self.sockets[sid] = LiveSocket(sid, caller, topics, seq, merges)
        self._per_caller[caller.subject] += 1
        self._spawn(self._welcome(self.sockets[sid], resumes=resumes is not None))

    async def _authenticate(self, environ: Mapping[str, Any], auth: Any) -> Caller:
        scope = environ.get("asgi.scope") or {}
        client = scope.get("client") or ("", 0)
        self.services.rates.take(f"live:{client[0]}")
        token = auth.get("token") if isinstance(auth, dict) else None
        caller = await self.services.verifier.verify(
            token if isinstance(token, str) else "",
            request_id=str(environ.get("HTTP_X_REQUEST_ID", ""))[:64],
            source_ip=str(client[0]),
        )
        self.services.rates.take(caller.subject)
        return caller

    def _check_room(self, caller: Caller) -> None:
        if self._draining:
            raise UnavailableError("This replica is going away; connect again.", retry_after_s=1)
        if len(self.sockets) >= self.limits.sockets or (
            self._per_caller[caller.subject] >= self.limits.sockets_per_caller
        ):
            raise TooManyError(retry_after_s=10)

    async def _welcome(self, socket: LiveSocket, *, resumes: bool) -> None:
        """Once the connection stands: greet, replay what was missed, and join the rooms."""
        for _ in range(1_000):
            if self.sio.manager.is_connected(socket.sid, NAMESPACE):
                break
            await asyncio.sleep(0.005)
        # Before the replica knows where the feed is, "from here on" would skip what comes in between.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._follows_feed.wait(), FEED_WAIT_S)
        replay = "none"
        if resumes and socket.seq != self.ring.newest:
            behind = self.ring.newest - socket.seq
            known = self.ring.oldest <= socket.seq + 1 <= self.ring.newest
            replay = "missed" if known and behind <= self.limits.replay_messages else "resync"
        if replay == "resync" or not resumes:
            socket.seq = self.ring.newest
        if replay == "resync":
            self.services.metric_set[FEED_RESYNCS].inc()
        hello = {
            "seq": socket.seq if replay != "missed" else self.ring.newest,
            "replay": replay,
            "role": socket.caller.role.label,
            "token_expires": socket.caller.expires_s * 1_000,
            "topics": sorted(socket.topics),
            "merge": socket.merges,
        }
        await self.sio.enter_room(socket.sid, _room(socket.caller.role), namespace=NAMESPACE)
        await self._emit_to(socket, "hello", hello)
        await self._catch_up(socket)

    async def _on_disconnect(self, sid: str, reason: Any = None) -> None:
        socket = self.sockets.pop(sid, None)
        if socket is None:
            return
        self._per_caller[socket.caller.subject] -= 1
        if not self._per_caller[socket.caller.subject]:
            del self._per_caller[socket.caller.subject]
        self.services.metric_set[SOCKETS_DROPPED].labels(socket.reason or "client").inc()
        details = {"reason": socket.reason or str(reason or ""), "seq": socket.seq}
        with contextlib.suppress(ProblemError):
            await self.services.audit.write(audit_entry(socket.caller, "live.disconnect", "live_feed", "", details))

    async def _on_subscribe(self, sid: str, data: Any = None) -> dict[str, Any]:
        socket = self.sockets.get(sid)
        try:
            if socket is None:
                return {"ok": False}
            self.services.rates.take(socket.caller.subject)
            topics = _topics(data.get("topics") if isinstance(data, dict) else None, socket.caller)
        except ProblemError as error:
            return {"ok": False, "problem": _problem(error)}
        except (TypeError, ValueError):
            return {"ok": False, "problem": {"status": 422, "title": "Not valid"}}
        socket.topics = topics
        return {"ok": True, "topics": sorted(topics)}

    async def _on_refresh(self, sid: str, data: Any = None) -> dict[str, Any]:
        socket = self.sockets.get(sid)
        if socket is None:
            return {"ok": False}
        try:
            self.services.rates.take(socket.caller.subject)
            token = data.get("token") if isinstance(data, dict) else None
            caller = await self.services.verifier.verify(
                token if isinstance(token, str) else "",
                request_id=socket.caller.request_id,
                source_ip=socket.caller.source_ip,
            )
        except ProblemError as error:
            return {"ok": False, "problem": _problem(error)}
        if caller.subject != socket.caller.subject:
            return {"ok": False, "problem": {"status": 403, "title": "The token is another user's"}}
        if caller.role is not socket.caller.role:
            socket.topics = {topic for topic in socket.topics if topic != "exception" or caller.role >= Role.ANALYST}
            await self.sio.leave_room(sid, _room(socket.caller.role), namespace=NAMESPACE)
            await self.sio.enter_room(sid, _room(caller.role), namespace=NAMESPACE)
        socket.caller = caller
        return {"ok": True, "token_expires": caller.expires_s * 1_000}

    # Flow control

    async def _catch_up(self, socket: LiveSocket) -> None:
        """Send from the ring what the socket lacks, as far as its window goes; at the newest it is at the head.

        Nothing between finding the ring at its end and being there suspends, so nothing is lost or doubled in between.
        """
        if socket.catching_up or socket.at_head:
            return
        socket.catching_up = True
        try:
            while socket.sid in self.sockets and not socket.closing:
                if socket.unacked_bytes > self.limits.unacked_bytes:
                    await self._ask_mark(socket)
                    return  # goes on when the acknowledgement comes
                try:
                    message = self.ring.after(socket.seq)
                except LookupError:
                    socket.seq = self.ring.newest
                    self.services.metric_set[FEED_RESYNCS].inc()
                    await self._emit_to(socket, "resync", {"seq": socket.seq, "reason": "too_far_behind"})
                    continue
                if message is None:
                    socket.at_head = True
                    return
                socket.seq = message.seq
                if "verdict" in socket.topics:
                    await self._emit_to(socket, "verdict", orjson.loads(message.body), message.size_bytes)
                if socket.wants_mark(self.limits.mark_bytes):
                    await self._ask_mark(socket)
        finally:
            socket.catching_up = False

    async def _emit_to(self, socket: LiveSocket, event: str, data: Any, size_bytes: int = 300) -> None:
        socket.sent(size_bytes, limit_bytes=self.limits.unacked_bytes, now_ms=millis(now()))
        await self.sio.emit(event, data, to=socket.sid, namespace=NAMESPACE)

    async def _ask_mark(self, socket: LiveSocket) -> None:
        if socket.mark_bytes is not None:
            return
        socket.marked()

        async def acknowledged(*_: Any) -> None:
            socket.acked(limit_bytes=self.limits.unacked_bytes)
            if not socket.at_head and socket.sid in self.sockets:
                await self._catch_up(socket)

        await self.sio.emit("feed.mark", {"seq": socket.seq}, to=socket.sid, namespace=NAMESPACE, callback=acknowledged)

    def _listening(self, topic: str) -> list[LiveSocket]:
        return [socket for socket in self.sockets.values() if socket.at_head and topic in socket.topics]

    async def _broadcast(self, topic: str, data: Any, size_bytes: int) -> None:
        """Send to all at the head who want the topic."""
        await self._deliver(self._listening(topic), topic, data, size_bytes)

    async def _deliver(
        self, receivers: list[LiveSocket], topic: str, data: Any, size_bytes: int, seq: int | None = None
    ) -> None:
        """Send, and account for it at every socket, before anything suspends."""
        now_ms = millis(now())
        for socket in receivers:
            socket.sent(size_bytes, limit_bytes=self.limits.unacked_bytes, now_ms=now_ms)
            if seq is not None:
                socket.seq = max(socket.seq, seq)
            if socket.over_since_ms is not None:
                socket.at_head = False
        if receivers:
            await self._send_all(receivers, topic, data)
        for socket in receivers:
            if socket.wants_mark(self.limits.mark_bytes):
                await self._ask_mark(socket)

    async def _send_all(self, receivers: Iterable[LiveSocket], event: str, data: Any) -> None:
        """Queue an event for many sockets, encoded once.

        `emit` to a room would start a task for each socket: at 500 of them that is the larger part of what it costs.
        """
        packet = self.sio.packet_class(socketio.packet.EVENT, namespace=NAMESPACE, data=[event, data])
        message = engineio.packet.Packet(engineio.packet.MESSAGE, packet.encode())
        for socket in receivers:
            connection = self.sio.manager.eio_sid_from_sid(socket.sid, NAMESPACE)
            if connection is not None:
                with contextlib.suppress(engineio.exceptions.SocketIsClosedError):
                    await self.sio.eio.send_packet(connection, message)

    async def _drop(self, sockets: Iterable[LiveSocket], reason: str) -> None:
        dropped = [socket for socket in sockets if not socket.closing]
        for socket in dropped:
            socket.closing = True
            socket.reason = reason
            await self.sio.emit("bye", {"reason": reason}, to=socket.sid, namespace=NAMESPACE)
        if dropped:
            await asyncio.sleep(BYE_S)
        for socket in dropped:
            with contextlib.suppress(Exception):
                await self.sio.disconnect(socket.sid, namespace=NAMESPACE)

    # What is sent

    async def _on_flush(self, seq: int, flush: dict[str, Any]) -> None:
        vocabulary = None
        with contextlib.suppress(UnavailableError):
            vocabulary = await self.services.vocabulary.get()
        for result in flush.get("results", ()):
            mismatched = result["verdict"] == "MISMATCHED"
            result["sources"] = list(result["legs"])
            result["differing"] = (
                {}
                if vocabulary is None
                else differing(result["legs"], vocabulary.rule_set(result["rules_version"]), result["breaks"])
            )
            result["severity"] = (
                vocabulary.scale.level(result["breaks"], result["amount_minor"], result["currency"])
                if mismatched and vocabulary is not None
                else None
            )
        counts = flush.get("counts", {})
        data = {"seq": seq, "first_seq": seq, **flush}
        message = FeedMessage(seq, orjson.dumps(data))
        # From here to the emit nothing suspends: see _catch_up.
        for socket in self.sockets.values():
            if socket.at_head and "verdict" not in socket.topics:
                socket.seq = seq
        self.ring.append(message)
        receivers = self._listening("verdict")
        if any(socket.merges for socket in receivers):
            self._merge.add(data, message.size_bytes)
        await self._deliver(
            [socket for socket in receivers if not socket.merges], "verdict", data, message.size_bytes, seq
        )
        await self._send_merged()
        self._watch.count(int(flush.get("at") or 0), counts)
        metrics = self.services.metric_set
        metrics[FEED_MESSAGES].inc()
        metrics[FEED_SEQ].set(seq)
        age_s = (millis(now()) - int(flush.get("at") or 0)) / 1_000
        if age_s < OLD_FLUSH_S:  # what the stream held before this replica began says nothing about delivery
            metrics[FEED_AGE_SECONDS].observe(max(0.0, age_s))

    async def _send_merged(self) -> None:
        """Send what waits when it is due, else see to it that it will be."""
        async with self._merging:  # one message after the other, should a send have to wait
            await self._send_merged_in_turn()

    async def _send_merged_in_turn(self) -> None:
        """A socket that came to the head while flushes waited has some of them: it catches up from the ring."""
        now_ms = millis(now())
        due_in_ms = self._merge.due_in_ms(now_ms)
        if due_in_ms:
            if self._merge_timer is None:
                self._merge_timer = asyncio.get_running_loop().call_later(due_in_ms / 1_000, self._merge_due)
            return
        taken = self._merge.take(now_ms)
        if taken is None:
            return
        data, size_bytes = taken
        receivers = []
        for socket in self._listening("verdict"):
            if not socket.merges or socket.seq >= data["seq"]:
                continue
            if socket.seq == data["first_seq"] - 1:
                receivers.append(socket)
            else:
                socket.at_head = False
                self._spawn(self._catch_up(socket))
        await self._deliver(receivers, "verdict", data, size_bytes, data["seq"])

    def _merge_due(self) -> None:
        self._merge_timer = None
        self._spawn(self._send_merged())

    async def _on_gap(self, newest: int, reason: str) -> None:
        """The feed goes on from `newest`; without a reason it only begins."""
        self._follows_feed.set()
        if reason == "" and self.ring.newest == newest:
            return
        self.ring.restart(newest)
        self._merge.clear()
        sockets = list(self.sockets.values())
        for socket in sockets:
            socket.seq = newest
        if reason:
            log.warning("feed_gap", newest=newest, reason=reason, sockets=len(sockets))
            self.services.metric_set[FEED_RESYNCS].inc(len(sockets))
            for socket in sockets:
                await self._emit_to(socket, "resync", {"seq": newest, "reason": reason})

    async def _on_other(self, channel: str, data: dict[str, Any]) -> None:
        if channel == PIPELINE:
            moment = millis(now())
            if moment - self._pipeline_sent_at >= self.limits.live_summary_ms - 100:
                self._pipeline_sent_at = moment
                shape = pipeline_of(data, self.services.options.public.ray_dashboard_url).model_dump()
                await self._broadcast("pipeline", shape, len(orjson.dumps(shape)))
        elif channel == DESK:
            match data.get("event"):
                case "incident":
                    await self._broadcast("incident", data["data"], 300)
                case "exception":
                    await self._broadcast("exception", data["data"], 200)
                case "rules":
                    await self.sio.emit("rules", data["data"], room=_room(Role.ADMIN), namespace=NAMESPACE)
                case "drain":
                    self._spawn(self.drain())
                case _:
                    log.warning("desk_event_unknown", event_name=str(data.get("event"))[:50])

    async def _send_summaries(self) -> None:
        while True:
            await asyncio.sleep(self.limits.live_summary_ms / 1_000)
            if not any(socket.at_head and "summary" in socket.topics for socket in self.sockets.values()):
                continue
            try:
                summary = (await self.services.overview.summary(SUMMARY_WINDOW_MS)).model_dump()
            except UnavailableError:
                continue  # the age of the last one tells
            except Exception:
                log.exception("summary_failed")
                continue
            await self._broadcast("summary", summary, len(orjson.dumps(summary)))

    async def _keep_sockets(self) -> None:
        """Drop sockets whose token has expired and those that do not keep up."""
        while True:
            await asyncio.sleep(TICK_S)
            moment = millis(now())
            leeway_s = self.services.options.tokens.leeway_s
            sockets = list(self.sockets.values())
            expired = [socket for socket in sockets if moment >= (socket.caller.expires_s + leeway_s) * 1_000]
            slow = [socket for socket in sockets if socket.is_slow(now_ms=moment, slow_ms=self.limits.slow_ms)]
            if expired:
                self._spawn(self._drop(expired, "expired"))
            if slow:
                self._spawn(self._drop(slow, "slow"))
            metrics = self.services.metric_set
            metrics[SOCKETS].set(len(sockets))
            metrics[SOCKETS_LAGGING].set(sum(not socket.at_head for socket in sockets))


def _room(role: Role) -> str:
    return f"role:{role.label}"


def _topics(given: Any, caller: Caller) -> set[str]:
    """Topics asked for, without those that the role does not get. Raises ValueError for unknown ones."""
    if given is None:
        wanted = set(TOPICS_DEFAULT)
    elif isinstance(given, list) and len(given) <= len(TOPICS) and all(topic in TOPICS for topic in given):
        wanted = set(given)
    else:
        raise ValueError(given)
    if caller.role < Role.ANALYST:
        wanted.discard("exception")
    return wanted


def _problem(error: ProblemError) -> dict[str, Any]:
    return {"type": f"/problems/{error.kind}", "title": error.title, "status": error.status, "detail": error.detail}


def build_live(options: ApiOptions, ports: Ports | None = None) -> socketio.ASGIApp:
    """The live feed alone as an ASGI app; every path that reaches it is Socket.IO's. The feed itself is at `.live`."""
    services = Services(options, ports or Ports())
    live = Live(services)

    async def start() -> None:
        await services.start()
        await live.start()

    async def stop() -> None:
        await live.stop()
        await services.stop()

    app = socketio.ASGIApp(live.sio, socketio_path=None, on_startup=start, on_shutdown=stop)
    app.live = live
    return app
