"""The Keycloak realm of recon as import data: roles, users, clients and what an access token says."""

from __future__ import annotations

from typing import Any

REALM = "recon"
ACCESS_TOKEN_LIFESPAN_S = 300

ROLES = {
    "viewer": "Sees transactions, summaries and exceptions.",
    "analyst": "Works on exceptions, proposes rules, replays dead letters.",
    "admin": "Approves rules, reads the audit trail, steers the pipeline.",
}

# Two analysts and two administrators, because nobody may approve what he made himself.
USERS: dict[str, tuple[str, str]] = {
    "vera": ("viewer", "Vera Viewer"),
    "anna": ("analyst", "Anna Analyst"),
    "arno": ("analyst", "Arno Analyst"),
    "adam": ("admin", "Adam Admin"),
    "ada": ("admin", "Ada Admin"),
}

# Clients that sign in by a secret of their own, without a person. None is an administrator: that takes a person.
SERVICES: dict[str, tuple[str, str]] = {
    "recon-service": ("viewer", "recon for machines that read"),
    "recon-service-analyst": ("analyst", "recon for machines that work on exceptions"),
}

# A role includes those before it.
_COMPOSITES = {"analyst": ["viewer"], "admin": ["analyst", "viewer"]}

_SCOPES = ["web-origins", "acr", "roles", "profile", "basic", "email"]


def build(
    *,
    passwords: dict[str, str],
    api_origins: list[str],
    audience: str,
    test_client: bool,
) -> dict[str, Any]:
    """The realm as Keycloak imports it.

    `passwords` has `keycloak_user_<name>` and `keycloak_client_<id>`; `api_origins` are where the dashboard may be
    loaded from; `audience` is what every access token is made out to.
    """
    return {
        "realm": REALM,
        "enabled": True,
        "displayName": "recon",
        "sslRequired": "all",
        "registrationAllowed": False,
        "resetPasswordAllowed": False,
        "editUsernameAllowed": False,
        "bruteForceProtected": True,
        "permanentLockout": False,
        "failureFactor": 10,
        "waitIncrementSeconds": 60,
        "maxFailureWaitSeconds": 900,
        "passwordPolicy": "length(12) and notUsername(undefined)",
        "accessTokenLifespan": ACCESS_TOKEN_LIFESPAN_S,
        "ssoSessionIdleTimeout": 1800,
        "ssoSessionMaxLifespan": 36_000,
        "revokeRefreshToken": True,
        "refreshTokenMaxReuse": 0,
        "defaultSignatureAlgorithm": "ES256",
        "oauth2DeviceCodeLifespan": 600,
        "oauth2DevicePollingInterval": 5,
        "eventsEnabled": True,
        "adminEventsEnabled": True,
        "adminEventsDetailsEnabled": True,
        "eventsExpiration": 30 * 86_400,
        "browserSecurityHeaders": {
            "strictTransportSecurity": "max-age=31536000; includeSubDomains",
            "xFrameOptions": "DENY",
            "contentSecurityPolicy": "frame-src 'self'; frame-ancestors 'self'; object-src 'none';",
            "referrerPolicy": "no-referrer",
            "xContentTypeOptions": "nosniff",
        },
        "components": {"org.keycloak.keys.KeyProvider": _keys()},
        "roles": {"realm": [_role(name, text) for name, text in ROLES.items()]},
        "users": [
            *(_user(name, role, full_name, passwords) for name, (role, full_name) in USERS.items()),
            *(_service_account(client_id, role) for client_id, (role, _) in SERVICES.items()),
        ],
        "clients": [
            _dashboard(api_origins, audience),
            _cli(audience),
            *(_service(client_id, name, passwords, audience) for client_id, (_, name) in SERVICES.items()),
            *([_test(passwords, audience)] if test_client else []),
        ],
    }


def _keys() -> list[dict[str, Any]]:
    """ES256 to sign; the symmetric ones are for Keycloak's own cookies and codes."""
    return [
        {
            "name": "ecdsa",
            "providerId": "ecdsa-generated",
            "config": {"priority": ["100"], "ecdsaEllipticCurveKey": ["P-256"], "enabled": ["true"]},
        },
        {
            "name": "hmac",
            "providerId": "hmac-generated",
            "config": {"priority": ["100"], "algorithm": ["HS512"], "secretSize": ["128"]},
        },
        {"name": "aes", "providerId": "aes-generated", "config": {"priority": ["100"], "secretSize": ["32"]}},
    ]


def _role(name: str, text: str) -> dict[str, Any]:
    role: dict[str, Any] = {"name": name, "description": text}
    if name in _COMPOSITES:
        role |= {"composite": True, "composites": {"realm": _COMPOSITES[name]}}
    return role


def _user(name: str, role: str, full_name: str, passwords: dict[str, str]) -> dict[str, Any]:
    first, last = full_name.split(" ", 1)
    return {
        "username": name,
        "enabled": True,
        "emailVerified": True,
        "email": f"{name}@recon.invalid",
        "firstName": first,
        "lastName": last,
        "realmRoles": [role],
        "credentials": [{"type": "password", "value": passwords[f"keycloak_user_{name}"], "temporary": False}],
    }


def _service_account(client_id: str, role: str) -> dict[str, Any]:
    return {
        "username": f"service-account-{client_id}",
        "enabled": True,
        "serviceAccountClientId": client_id,
        "realmRoles": [role],
    }


def _client(client_id: str, audience: str, **settings: Any) -> dict[str, Any]:
    """A client with everything off that is not asked for, and with our audience in its access tokens."""
    return {
        "clientId": client_id,
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "standardFlowEnabled": False,
        "implicitFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": False,
        "fullScopeAllowed": True,
        "frontchannelLogout": False,
        "defaultClientScopes": _SCOPES,
        "optionalClientScopes": [],
        "protocolMappers": [
            {
                "name": "audience",
                "protocol": "openid-connect",
                "protocolMapper": "oidc-audience-mapper",
                "config": {
                    "included.custom.audience": audience,
                    "access.token.claim": "true",
                    "id.token.claim": "false",
                    "introspection.token.claim": "true",
                },
            }
        ],
        **settings,
    }


def _dashboard(api_origins: list[str], audience: str) -> dict[str, Any]:
    return _client(
        "recon-dashboard",
        audience,
        name="recon dashboard",
        publicClient=True,
        standardFlowEnabled=True,
        rootUrl=api_origins[0],
        baseUrl="/",
        redirectUris=[f"{origin}/*" for origin in api_origins],
        webOrigins=api_origins,
        attributes={
            "pkce.code.challenge.method": "S256",
            "post.logout.redirect.uris": "##".join(f"{origin}/*" for origin in api_origins),
        },
    )


def _cli(audience: str) -> dict[str, Any]:
    return _client(
        "recon-cli",
        audience,
        name="recon command line",
        publicClient=True,
        attributes={"oauth2.device.authorization.grant.enabled": "true", "pkce.code.challenge.method": "S256"},
    )


def _service(client_id: str, name: str, passwords: dict[str, str], audience: str) -> dict[str, Any]:
    return _client(
        client_id,
        audience,
        name=name,
        serviceAccountsEnabled=True,
        secret=passwords[f"keycloak_client_{client_id}"],
    )


def _test(passwords: dict[str, str], audience: str) -> dict[str, Any]:
    """Password grants, for tests that need a user's token without a browser; never in a stack that people use."""
    return _client(
        "recon-test",
        audience,
        name="recon tests",
        directAccessGrantsEnabled=True,
        secret=passwords["keycloak_client_recon-test"],
    )
