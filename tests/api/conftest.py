"""Fixtures for the API: real PostgreSQL, Redis and Keycloak, the apps under plain uvicorn in threads."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import asyncpg
import httpx
import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec

from api.app import build_app
from api.live import build_live
from api.services import Ports
from api.tokens import fetch_from
from cluster.acceptance import Acceptance
from cluster.serve_app import api_options, decode_payload, judge_history
from schemas.events import DEFAULT_SOURCES, Status, key_group_of
from schemas.headers import Headers
from schemas.verdicts import STATUS_LETTERS, Verdict, break_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from api.options import ApiOptions
    from cluster.endpoints import Endpoints, PostgresEndpoint

SOURCES = tuple(source.name for source in DEFAULT_SOURCES)
BASE = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Server:
    """An ASGI app under uvicorn in a thread of its own."""

    def __init__(self, app: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = app
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=self.port,
            log_level="error",
            ws="websockets-sansio",
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)


@dataclass
class TrustedKey:
    """A signing key that the apps under test trust beside Keycloak's, to forge what Keycloak would never sign."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    key_id: str = "test-key"

    def jwk(self) -> dict[str, Any]:
        public = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).to_jwk(
            self.key.public_key(), as_dict=True
        )
        return {**public, "kid": self.key_id, "alg": "ES256", "use": "sig"}

    def sign(self, options: ApiOptions, *, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": options.tokens.issuer,
            "aud": options.tokens.audience,
            "sub": "subject-of-tess",
            "preferred_username": "tess",
            "typ": "Bearer",
            "azp": "recon-test",
            "iat": now,
            "exp": now + 300,
            "realm_access": {"roles": ["admin"]},
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": self.key_id, **(headers or {})})


class Tokens:
    """Users' access tokens from the real Keycloak, renewed before they expire."""

    def __init__(self, endpoints: Endpoints) -> None:
        assert endpoints.keycloak is not None
        self._keycloak = endpoints.keycloak
        self._context = ssl.create_default_context(cafile=str(endpoints.keycloak.ca_file))
        self._kept: dict[str, tuple[str, float]] = {}

    def __call__(self, user: str) -> str:
        token, until = self._kept.get(user, ("", 0.0))
        if time.monotonic() > until:
            token = self.grant(user)
            self._kept[user] = (token, time.monotonic() + 200)
        return token

    def grant(self, user: str) -> str:
        """A new token by the test client's direct grant."""
        client, login = self._keycloak.clients["recon-test"], self._keycloak.users[user]
        form = {
            "grant_type": "password",
            "client_id": client.client_id,
            "client_secret": client.secret,
            "username": login.user,
            "password": login.password,
        }
        return self.ask(form)["access_token"]

    def ask(self, form: Mapping[str, Any]) -> dict[str, Any]:
        """The token endpoint's answer."""
        with httpx.Client(verify=self._context, trust_env=False) as http:
            answer = http.post(f"{self._keycloak.issuer}/protocol/openid-connect/token", data=dict(form), timeout=30)
        return answer.json()


class Ledger:
    """Writes what the pipeline would have written, as the database's owner."""

    def __init__(self, postgres: PostgresEndpoint) -> None:
        self.postgres = postgres
        self._connections: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._seq = 0

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def close(self) -> None:
        for connection in self._connections.values():
            self.run(connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def sql(self, query: str, *arguments: Any, role: str = "owner") -> list[Any]:
        async def run() -> list[Any]:
            if role not in self._connections:
                self._connections[role] = await asyncpg.connect(**self.postgres.connect_kwargs(role))
            return list(await self._connections[role].fetch(query, *arguments))

        return self.run(run())

    def sources(self) -> None:
        for index, source in enumerate(DEFAULT_SOURCES):
            self.sql(
                "insert into sources values ($1, $2, $3, $4) on conflict do nothing",
                index,
                source.name,
                source.topic,
                source.expected,
            )

    def add(
        self,
        txn_id: str,
        legs: Mapping[str, tuple[int, str, Status]] | None = None,
        *,
        breaks: Sequence[str] = (),
        verdict: Verdict | None = None,
        decided_at: datetime = BASE,
        revision: int = 1,
        event_times: Mapping[str, datetime] | None = None,
        account_id: str = "ACC-000123456789",
        events: bool = True,
        counted: bool = True,
    ) -> None:
        """One transaction with its events; legs are amount, currency, status by source."""
        legs = legs if legs is not None else dict.fromkeys(SOURCES, (10_000, "EUR", Status.SUCCESS))
        verdict = verdict if verdict is not None else (Verdict.MISMATCHED if breaks else Verdict.MATCHED)
        group = key_group_of(txn_id)
        arrival = decided_at - timedelta(seconds=1)
        times = {name: (event_times or {}).get(name, arrival - timedelta(milliseconds=50)) for name in legs}
        missing = sum(1 << index for index, name in enumerate(SOURCES) if name not in legs)
        present = sum(1 << index for index, name in enumerate(SOURCES) if name in legs)
        packed = ";".join(
            f"{index}:{legs[name][0]}:{legs[name][1]}:{STATUS_LETTERS[legs[name][2]]}:"
            f"{int(times[name].timestamp() * 1000)}"
            for index, name in enumerate(SOURCES)
            if name in legs
        )
        seqs = []
        for name, (amount, currency, status) in legs.items():
            self._seq += 1
            seqs.append(self._seq)
            if events:
                self.sql(
                    "insert into event_blocks values ($1, $2, $2, 1, $3, array[$2::bigint], array[$4],"
                    " array[$5::smallint], array[$6], array[$7::bigint], array[$8], array[$9::smallint],"
                    " array[$10::bigint], array[$11::bigint], array[$12], array[null::text], array[0], array[$2])",
                    group,
                    self._seq,
                    arrival.astimezone(UTC).date(),
                    txn_id,
                    SOURCES.index(name),
                    f"ev-{self._seq}",
                    amount,
                    currency,
                    status,
                    int(times[name].timestamp() * 1000),
                    int(arrival.timestamp() * 1000),
                    account_id,
                )
        amounts = [leg[0] for leg in legs.values()]
        currency = next(legs[name][1] for name in SOURCES if name in legs)
        self.sql(
            "insert into results values ($1,$2,$3,$4,$5,1,$6,$7,0,$8,$9,$10,$11,$12,$12,$13,$14,$15)",
            group,
            txn_id,
            verdict.value,
            verdict is not Verdict.PENDING,
            revision,
            break_mask(breaks),
            missing if "MISSING" in breaks else 0,
            present,
            currency,
            max(amounts),
            max(amounts) - min(amounts),
            arrival,
            decided_at,
            packed,
            seqs,
        )
        if counted and verdict is not Verdict.PENDING:
            self.count(f"verdict.{verdict.name}", currency, 1, max(amounts), datetime.now(UTC))  # when it is flushed

    def count(self, metric: str, currency: str, n: int, amount_minor: int, at: datetime) -> None:
        """Add to the counters as a flush does."""
        self.sql(
            "insert into stats_by_minute values (0, date_trunc('minute', $1::timestamptz), $2, $3, $4, $5)"
            " on conflict (key_group_from, minute, metric, currency) do update set n = stats_by_minute.n + excluded.n,"
            " amount_minor = stats_by_minute.amount_minor + excluded.amount_minor",
            at,
            metric,
            currency,
            n,
            amount_minor,
        )


@pytest.fixture(scope="session")
def trusted_key() -> TrustedKey:
    return TrustedKey()


@pytest.fixture(scope="session")
def tokens(stack: Endpoints) -> Tokens:
    return Tokens(stack)


@pytest.fixture(scope="module")
def ledger(fresh_db: PostgresEndpoint) -> Iterator[Ledger]:
    """The module's database, with the sources that the supervisor would have noted."""
    ledger = Ledger(fresh_db)
    ledger.sources()
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def options(stack: Endpoints, fresh_db: PostgresEndpoint) -> ApiOptions:
    """Options on the module's database and on Redis keys of its own."""
    endpoints = stack.model_copy(update={"postgres": fresh_db})
    made = api_options(endpoints)
    limits = replace(made.limits, rate_per_s=2_000, rate_burst_requests=4_000)
    return replace(made, redis_prefix=f"test-{secrets.token_hex(4)}:", limits=limits)


@pytest.fixture(scope="module")
def ports(options: ApiOptions, trusted_key: TrustedKey, stack: Endpoints) -> Iterator[Ports]:
    """The engine and the codec; Kafka is a list; the test key is trusted beside Keycloak's."""
    keycloak = fetch_from(options.tokens)

    async def fetch() -> dict[str, Any]:
        document = await keycloak()
        return {"keys": [*document["keys"], trusted_key.jwk()]}

    async def republish(topic: str, key: bytes | None, payload: bytes, headers: Headers = ()) -> tuple[int, int]:
        republished.append((topic, key, payload))
        return 0, len(republished) - 1

    republished: list[Any] = []
    examine = Acceptance(
        stack.registry.client_config("reader"), stack.source_specs(), stack.postgres.connect_kwargs("api")
    )
    made = Ports(judge=judge_history, republish=republish, decode=decode_payload, examine=examine, fetch_keys=fetch)
    object.__setattr__(made, "republished", republished)
    yield made
    examine.close()


@pytest.fixture(scope="module")
def rest(options: ApiOptions, ports: Ports, ledger: Ledger) -> Iterator[Server]:
    """The REST app."""
    with Server(build_app(options, ports)) as server:
        yield server


@pytest.fixture(scope="module")
def as_user(rest: Server, tokens: Tokens) -> Iterator[Callable[[str], httpx.Client]]:
    """A client that is signed in: `as_user("anna").get(...)`; paths are under /api/v1."""
    with contextlib.ExitStack() as clients:
        known: dict[str, httpx.Client] = {}

        def client(user: str) -> httpx.Client:
            if user not in known:
                known[user] = clients.enter_context(
                    httpx.Client(base_url=f"{rest.url}/api/v1", timeout=30, trust_env=False)
                )
            known[user].headers["Authorization"] = f"Bearer {tokens(user)}"
            return known[user]

        yield client


@pytest.fixture(scope="module")
def live_servers(options: ApiOptions, ports: Ports, ledger: Ledger) -> Iterator[list[Server]]:
    """Two replicas of the live feed on the same Redis."""
    with contextlib.ExitStack() as servers:
        yield [
            servers.enter_context(Server(build_live(replace(options, replica=f"live-{index}"), ports)))
            for index in range(2)
        ]
