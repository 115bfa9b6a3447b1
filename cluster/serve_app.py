"""Ray Serve: the REST app and the live feed as two applications, put together from settings and endpoints.

They are separate because a websocket holds one of a replica's request slots for as long as it lasts: REST must never
wait behind sockets. Both are served by the same HTTPS proxy on each node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.options import ApiOptions, KafkaOptions, PublicConfig, TokenOptions
from schemas.errors import ReconError

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.endpoints import Endpoints
    from cluster.settings import Settings


class KeycloakMissingError(ReconError):
    """The API verifies Keycloak's tokens, so it does not start without Keycloak."""


def api_options(
    settings: Settings, endpoints: Endpoints, *, dashboard_dir: Path | None = None, replica: str = "local"
) -> ApiOptions:
    """The service's options for this stack. Raises StackNotUpError's kin when Keycloak is not part of it."""
    keycloak = endpoints.keycloak
    if keycloak is None:
        raise KeycloakMissingError
    postgres = endpoints.postgres.connect_kwargs("api")
    del postgres["ssl"]  # an ssl context cannot be sent to a replica; the CA file's path can
    return ApiOptions(
        tokens=TokenOptions(
            issuer=keycloak.issuer,
            jwks_url=f"{keycloak.issuer}/protocol/openid-connect/certs",
            audience=settings.api_audience,
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
        kafka=KafkaOptions(endpoints.kafka.client_config("pipeline")),
        dashboard_dir=dashboard_dir,
        replica=replica,
    )
