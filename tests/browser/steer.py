"""What the browser tests ask of the running stack, as a command; what it prints is the answer, a line each.

python steer.py STATE_DIR plant CURRENCY AMOUNT_MINOR TXN_ID...    transactions of which one source says another amount
python steer.py STATE_DIR plant-unreadable TXN_ID                  a record whose end is cut off; prints its place
python steer.py STATE_DIR plant-refused TXN_ID                     a record in a currency that there is not; likewise
python steer.py STATE_DIR plant-early TXN_ID                       a record whose time is some seconds too far ahead
python steer.py STATE_DIR end-session USERNAME                     the newest session of a user, as an operator would
python steer.py STATE_DIR restart-api

What is planted is stored when the command returns: a test then waits for the console alone, not for the pipeline, too.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from confluent_kafka import KafkaError, Message, Producer

from cluster import serve_app
from cluster.endpoints import Endpoints
from cluster.settings import Settings
from producers.connection import Connection
from producers.emission import Damage, Event
from producers.wire import encoders
from schemas.events import EVENT_TIME_LEAD_MAX_MS, Status
from schemas.places import ENDPOINTS_FILE

ODD_SOURCE = "GATEWAY"
ODD_BY_MINOR = 10_000
FLUSH_S = 30
EARLY_MS = 15_000
STORED_S = 60
ASK_EVERY_S = 0.1

DECIDED = "select count(*) from reconciliation_results where final and txn_id = any($1::text[])"
SET_ASIDE = "select count(*) from dead_letters where topic = $1 and kafka_partition = $2 and kafka_offset = $3"


def event_of(source: str, txn_id: str, amount_minor: int, currency: str) -> Event:
    """An event of now."""
    return Event(
        event_id=f"{source}-{txn_id}",
        txn_id=txn_id,
        source=source,
        amount_minor=amount_minor,
        currency=currency,
        status=Status.SUCCESS,
        event_time=int(time.time() * 1000),
        account_id="DE89370400440532013000",
    )


def plant(state_dir: Path, currency: str, amount_minor: int, txn_ids: list[str]) -> None:
    """All sources report each transaction; one of them another amount."""
    connection = Connection.read(state_dir / ENDPOINTS_FILE)
    codecs = encoders(connection.registry, [source.topic for source in connection.sources])
    producer = Producer(connection.kafka)
    for txn_id in txn_ids:
        for source in connection.sources:
            amount = amount_minor + (ODD_BY_MINOR if source.name == ODD_SOURCE else 0)
            event = event_of(source.name, txn_id, amount, currency)
            producer.produce(source.topic, key=txn_id, value=codecs[source.topic].encode(event))
    assert producer.flush(FLUSH_S) == 0, "Kafka did not take the planted events"
    asyncio.run(stored(state_dir, len(txn_ids), DECIDED, txn_ids))


async def stored(state_dir: Path, rows: int, statement: str, *arguments: Any) -> None:
    """Wait until the pipeline has stored what was planted."""
    postgres = Endpoints.load(state_dir).postgres
    connection = await asyncpg.connect(**postgres.connect_kwargs("api"))
    try:
        async with asyncio.timeout(STORED_S):
            while await connection.fetchval(statement, *arguments) < rows:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(ASK_EVERY_S)
    finally:
        await connection.close()


def plant_bad(
    state_dir: Path, txn_id: str, currency: str = "EUR", damage: Damage | None = None, ahead_ms: int = 0
) -> str:
    """One record that will be set aside; gives its place in the log."""
    connection = Connection.read(state_dir / ENDPOINTS_FILE)
    source = connection.sources[0]
    codec = encoders(connection.registry, [source.topic])[source.topic]
    places: list[str] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        places.append(f"{message.topic()}:{message.partition()}:{message.offset()}")

    producer = Producer(connection.kafka)
    event = event_of(source.name, txn_id, 5_000, currency)
    value = codec.encode(replace(event, event_time=event.event_time + ahead_ms), damage)
    producer.produce(source.topic, key=txn_id, value=value, on_delivery=delivered)
    assert producer.flush(FLUSH_S) == 0, "Kafka did not take the planted record"
    topic, partition, offset = places[0].split(":")
    asyncio.run(stored(state_dir, 1, SET_ASIDE, topic, int(partition), int(offset)))
    return places[0]


def end_session(state_dir: Path, username: str) -> None:
    """End what a user began last, through Keycloak's administration."""
    keycloak = Endpoints.load(state_dir).keycloak
    assert keycloak is not None
    verify = ssl.create_default_context(cafile=str(keycloak.ca_file))
    with httpx.Client(base_url=keycloak.url, verify=verify, trust_env=False, timeout=30) as http:
        login = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": keycloak.admin.user,
            "password": keycloak.admin.password,
        }
        answer = http.post("/realms/master/protocol/openid-connect/token", data=login).raise_for_status()
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        realm = f"/admin/realms/{keycloak.realm}"
        users = http.get(f"{realm}/users", params={"username": username, "exact": True}).raise_for_status().json()
        sessions = http.get(f"{realm}/users/{users[0]['id']}/sessions").raise_for_status().json()
        newest = max(sessions, key=lambda session: session["start"])
        http.delete(f"{realm}/sessions/{newest['id']}").raise_for_status()


def restart_api(state_dir: Path) -> None:
    """Stop the REST app and the live feed in order, then start them again."""
    endpoints = Endpoints.load(state_dir)
    assert endpoints.ray is not None
    endpoints.ray.authenticate()
    settings = Settings(state_dir=state_dir)
    serve_app.stop(settings, endpoints)
    serve_app.start(settings, endpoints)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    match sys.argv[2:]:
        case ["plant", currency, amount_minor, *txn_ids]:
            plant(folder, currency, int(amount_minor), txn_ids)
        case ["plant-unreadable", txn_id]:
            sys.stdout.write(plant_bad(folder, txn_id, damage=Damage.TRUNCATED) + "\n")
        case ["plant-refused", txn_id]:
            sys.stdout.write(plant_bad(folder, txn_id, "ZZZ") + "\n")
        case ["plant-early", txn_id]:
            sys.stdout.write(plant_bad(folder, txn_id, ahead_ms=EVENT_TIME_LEAD_MAX_MS + EARLY_MS) + "\n")
        case ["end-session", username]:
            end_session(folder, username)
        case ["restart-api"]:
            restart_api(folder)
        case words:
            sys.exit(f"unknown: {words}")
