"""Ray Serve: the service's replicas, put together from settings and endpoints.

One deployment whose replicas hold REST and live feed, and accept connections themselves (api/door.py): Serve starts,
checks, replaces and scales them, and its proxy is not started. Where the proxy is preferred (one port for several
applications), `direct=False` leaves the replicas behind it. A replica reads endpoints.json itself, so that no password
is an argument that Ray would keep. A Serve config file does the same: deploy/serve_config.yaml.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from pydantic import BaseModel, ConfigDict

from actors.matching.decide import decide
from actors.matching.frames import EVENT_SCHEMA
from api.options import ApiOptions, KafkaOptions, PublicConfig, TokenOptions
from api.republish import KafkaRepublisher
from api.services import Ports
from cluster.acceptance import Acceptance
from cluster.endpoints import Endpoints
from cluster.logs import configure_logs
from cluster.settings import Settings
from schemas.errors import ReconError
from schemas.events import STATUS_NAMES, SourceSpec, schema_text
from schemas.exchange import NO_RATES, ExchangeRates
from schemas.rules import Rulebook, RuleSet
from wire.events import SOURCE_SYMBOLS, WriterSchema, decode_message
from wire.framing import HEADER_BYTES

APPLICATION = "recon-api"
DEPLOYMENT = "api"
ONGOING_MAX = 4_000  # per replica, through Serve's proxy only: each socket there is one ongoing request
DRAIN_S = 5  # open requests may take so long when a replica goes; sockets are told to go at once
SHUTDOWN_S = 12.0  # then Serve kills the replica
DRAIN_NOTICE_S = 1.0
CONTROLLER_END_S = 30.0  # more than a replica has
FOREVER_MS = 2**62  # a watermark beyond every window: history is closed


class KeycloakMissingError(ReconError):
    """The API verifies Keycloak's tokens, so it does not start without Keycloak."""


class ServeArgs(BaseModel):
    """Arguments of the application, as a Serve config file gives them."""

    model_config = ConfigDict(frozen=True)

    state_dir: Path
    audience: str = "recon-api"
    replicas: int = 1
    log_level: str = "INFO"
    dashboard_dir: Path | None = None
    base_currency: str = ""
    exchange_rates: str = ""
    direct: bool = True  # replicas listen themselves; False leaves them behind Serve's proxy


def api_options(
    endpoints: Endpoints,
    *,
    audience: str = "recon-api",
    dashboard_dir: Path | None = None,
    replica: str = "local",
    long_polling: bool = False,
    rates: ExchangeRates = NO_RATES,
) -> ApiOptions:
    """The service's options for this stack. Raises KeycloakMissingError."""
    keycloak = endpoints.keycloak
    if keycloak is None:
        raise KeycloakMissingError
    postgres = endpoints.postgres.connect_kwargs("api")
    del postgres["ssl"]  # an ssl context cannot be sent to a replica; the CA file's path can
    api = endpoints.api
    origins = (api.url, f"https://{api.host}:{api.port}", f"https://localhost:{api.port}") if api else ()
    return ApiOptions(
        tokens=TokenOptions(
            issuer=keycloak.issuer,
            jwks_url=f"{keycloak.issuer}/protocol/openid-connect/certs",
            audience=audience,
            ca_file=str(keycloak.ca_file),
        ),
        public=PublicConfig(
            keycloak_url=keycloak.url,
            realm=keycloak.realm,
            ray_dashboard_url=endpoints.ray.dashboard_url if endpoints.ray else "",
        ),
        postgres=postgres,
        postgres_ca_file=str(endpoints.postgres.ca_file),
        redis_url=endpoints.redis.authenticated_url(),
        kafka=KafkaOptions(endpoints.kafka.client_config("producer")),
        dashboard_dir=dashboard_dir,
        origins=tuple(dict.fromkeys(origins)),
        replica=replica,
        long_polling=long_polling,
        rates=rates,
    )


def api_ports(endpoints: Endpoints, options: ApiOptions) -> Ports:
    """The engine's judgement, the codec and Kafka, as the service asks for them."""
    return Ports(
        judge=judge_history,
        republish=KafkaRepublisher(options.kafka.config),
        decode=decode_payload,
        examine=Acceptance(
            endpoints.registry.client_config("reader"),
            endpoints.source_specs(),
            endpoints.postgres.connect_kwargs("api"),
        ),
    )


def judge_history(events: pl.DataFrame, rules: RuleSet, sources: Sequence[SourceSpec]) -> pl.DataFrame:
    """The engine's rule over closed history; see api.ports.Judge."""
    frame = events.select(pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items())
    always = RuleSet.from_json(rules.version, 0, rules.to_json())
    return decide(frame, Rulebook([always]), sources, [FOREVER_MS] * len(sources))


def decode_payload(payload: bytes) -> dict[str, str | int | None]:
    """A framed record by the current schema; see api.ports.Decoder."""
    if len(payload) < HEADER_BYTES or payload[0] != 0:
        raise ValueError("no Confluent framing")
    fields = decode_message(payload[HEADER_BYTES:], WriterSchema.parse(0, schema_text()))
    return {
        **fields,
        "source": SOURCE_SYMBOLS[fields["source"]],
        "status": STATUS_NAMES[fields["status"]],
    }


class _Replica:
    """One replica; Serve builds its ASGI app after the constructor, and runs the app's lifespan."""

    def __init__(self, args: ServeArgs) -> None:
        from ray import serve  # noqa: PLC0415 - slow to import, and only replicas come here

        configure_logs(args.log_level)
        _keep_to_the_node()
        self._args = args
        self._endpoints = Endpoints.load(args.state_dir)
        self._name: str = serve.get_replica_context().replica_id.unique_id
        self._app: Any = None

    def __serve_build_asgi_app__(self) -> Any:
        """The app, with a door of its own unless it is to stay behind the proxy."""
        from api.door import DoorOptions  # noqa: PLC0415 - only replicas need it
        from api.whole import Whole  # noqa: PLC0415 - likewise

        options = api_options(
            self._endpoints,
            audience=self._args.audience,
            dashboard_dir=self._args.dashboard_dir,
            replica=self._name,
            long_polling=self._args.replicas == 1,
            rates=ExchangeRates.parse(self._args.base_currency, self._args.exchange_rates),
        )
        api = self._endpoints.api
        door = None
        if self._args.direct and api is not None:
            door = DoorOptions(
                api.host,
                api.port,
                api.cert_file,
                api.key_file,
                drain_s=DRAIN_S,
                message_bytes=options.limits.socket_message_bytes,
            )
        self._app = Whole(options, api_ports(self._endpoints, options), door)
        return self._app

    def check_health(self) -> None:
        """Serve asks this regularly, and replaces the replica when it raises."""
        if self._app is not None:
            self._app.check()


def _keep_to_the_node() -> None:
    """Make Serve bind this replica's gRPC port to the node's own address, the one that it tells its callers.

    Serve opens that port for calls from other deployments in every replica, without TLS and on every interface of the
    machine, after the constructor, and has no option for it.
    """
    import ray  # noqa: PLC0415 - only replicas come here
    from ray.serve._private import replica  # noqa: PLC0415 - likewise

    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    host = f"[{address}]" if ":" in address else address
    module: Any = replica
    bind = module.add_port_to_grpc_server
    module.add_port_to_grpc_server = lambda server, wanted: bind(server, wanted.replace("[::]", host))


def application(args: ServeArgs) -> Any:
    """The application: API, live feed, health, metrics, and the dashboard's files, at /."""
    from ray import serve  # noqa: PLC0415 - slow to import, and it reads its environment then

    deployment: Any = serve.deployment(
        serve.ingress()(_Replica),
        name=DEPLOYMENT,
        num_replicas=args.replicas,
        max_ongoing_requests=ONGOING_MAX,
        graceful_shutdown_timeout_s=SHUTDOWN_S,
        graceful_shutdown_wait_loop_s=0.2,
        health_check_period_s=5,
        health_check_timeout_s=15,
        ray_actor_options={"num_cpus": 0},
        logging_config={"enable_access_log": False},
    )
    return deployment.bind(args)


def dashboard_dir() -> Path:
    """The dashboard as built in a checkout; it may be built after the API has started."""
    return Path(__file__).resolve().parents[1] / "dashboard" / "dist"


def start(settings: Settings, endpoints: Endpoints, *, direct: bool = True) -> None:
    """Start the service on the stack's Ray, or bring a running one to these settings. Raises ReconError.

    With `direct=False` Serve's HTTPS proxy listens instead of the replicas.
    """
    from cluster.pipeline import connect  # noqa: PLC0415 - joins Ray

    if endpoints.api is None or endpoints.ray is None:
        raise ReconError("this stack was started without the API")
    connect(endpoints)
    from ray import serve  # noqa: PLC0415 - slow to import, and it reads its environment then
    from ray.serve.config import HTTPOptions, ProxyLocation  # noqa: PLC0415

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    args = ServeArgs(
        state_dir=endpoints.state_dir,
        audience=settings.api_audience,
        replicas=settings.api_replicas,
        log_level=settings.log_level,
        dashboard_dir=dashboard_dir(),
        base_currency=settings.base_currency,
        exchange_rates=settings.exchange_rates,
        direct=direct,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        serve.start(
            proxy_location=ProxyLocation.Disabled if direct else ProxyLocation.EveryNode,
            http_options=HTTPOptions(
                host=endpoints.api.host,
                port=endpoints.api.port,
                ssl_certfile=str(endpoints.api.cert_file),
                ssl_keyfile=str(endpoints.api.key_file),
                # No request_timeout_s: it would cut websockets too. Statements have time limits of their own.
            ),
        )
        serve.run(application(args), name=APPLICATION, route_prefix="/")


def stop(settings: Settings, endpoints: Endpoints) -> None:
    """Send live clients away, let requests finish, and end Serve."""
    import time  # noqa: PLC0415

    import redis  # noqa: PLC0415

    from cluster.pipeline import connect  # noqa: PLC0415 - joins Ray

    del settings
    if endpoints.ray is None or endpoints.api is None:
        return
    connect(endpoints)
    from ray import serve  # noqa: PLC0415

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        with redis.Redis(**endpoints.redis.connect_kwargs(), socket_timeout=2) as client:
            if client.publish("recon:desk", orjson.dumps({"event": "drain", "data": {}})):
                time.sleep(DRAIN_NOTICE_S)
    except redis.RedisError:
        pass  # clients see the connection close instead
    _end_controller()
    serve.shutdown()  # type: ignore[no-untyped-call] # forgets the controller


def _end_controller() -> None:
    """Ask Serve's controller to stop everything, itself last.

    `serve.shutdown()` does less and says more: it leaves a controller alone that takes 5 s to answer, on a busy machine
    for example; and it asks with retries, so that Ray always tells the terminal of a failed call, for the controller's
    last act is to kill itself.
    """
    import ray  # noqa: PLC0415 - joined by the caller

    with contextlib.suppress(ValueError, ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        controller = ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
        ray.get(controller.graceful_shutdown.options(max_task_retries=0).remote(), timeout=CONTROLLER_END_S)
