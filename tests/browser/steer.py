"""What the browser tests ask of the running stack, as a command: plant a transaction, restart the API.

python steer.py STATE_DIR plant TXN_ID AMOUNT_MINOR
python steer.py STATE_DIR restart-api
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from confluent_kafka import Producer

from cluster import serve_app
from cluster.endpoints import ENDPOINTS_FILE, Endpoints
from cluster.settings import Settings
from producers.connection import Connection
from producers.emission import Event
from producers.wire import encoders
from schemas.events import Status

ODD_SOURCE = "GATEWAY"
ODD_BY_MINOR = 10_000


def plant(state_dir: Path, txn_id: str, amount_minor: int) -> None:
    """All sources report a transaction; one of them another amount."""
    connection = Connection.read(state_dir / ENDPOINTS_FILE)
    codecs = encoders(connection.registry, [source.topic for source in connection.sources])
    producer = Producer(connection.kafka)
    for source in connection.sources:
        event = Event(
            event_id=f"{source.name}-{txn_id}",
            txn_id=txn_id,
            source=source.name,
            amount_minor=amount_minor + (ODD_BY_MINOR if source.name == ODD_SOURCE else 0),
            currency="EUR",
            status=Status.SUCCESS,
            event_time=int(time.time() * 1000),
            account_id="DE89370400440532013000",
        )
        producer.produce(source.topic, key=txn_id, value=codecs[source.topic].encode(event))
    assert producer.flush(30) == 0, "Kafka did not take the planted events"


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
        case ["plant", txn_id, amount_minor]:
            plant(folder, txn_id, int(amount_minor))
        case ["restart-api"]:
            restart_api(folder)
        case words:
            sys.exit(f"unknown: {words}")
