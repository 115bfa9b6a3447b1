"""Generated passwords of one stack, kept in `<state>/secrets.json` (0600) so that every start uses the same ones."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from cluster.stack.context import write_private

if TYPE_CHECKING:
    from pathlib import Path

SECRETS_FILE = "secrets.json"

_PASSWORD_BYTES = 24  # 192 bits of randomness, 32 characters of URL-safe base64

# One entry per secret; the first word says what it opens.
NAMES = (
    "postgres_admin",
    "postgres_owner",
    "postgres_app",
    "postgres_api",
    "redis_app",
    "redis_admin",
    "ray_token",
    "keycloak_admin",
    "keycloak_client_recon-service",
    "keycloak_client_recon-service-analyst",
    "keycloak_client_recon-test",
    "registry_admin",
    "registry_pipeline",
    "registry_producer",
    "registry_reader",
    "keycloak_user_vera",
    "keycloak_user_anna",
    "keycloak_user_arno",
    "keycloak_user_adam",
    "keycloak_user_ada",
)


def ensure(state_dir: Path) -> dict[str, str]:
    """The stack's secrets by name, generating those that are missing."""
    path = state_dir / SECRETS_FILE
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    missing = [name for name in NAMES if name not in known]
    if missing:
        known |= {name: secrets.token_urlsafe(_PASSWORD_BYTES) for name in missing}
        write_private(path, json.dumps(known, indent=2) + "\n")
    return known
