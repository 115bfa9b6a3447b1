"""`recon login`: sign in from the command line by the device flow, and keep the session for other commands."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from cluster import https
from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole
from cluster.endpoints import Endpoints, KeycloakEndpoint
from cluster.settings import get_settings
from schemas.errors import ReconError

CLIENT_ID = "recon-cli"
SESSION_FILE = "cli-session.json"
GRANT_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"  # RFC 8628
RENEW_BEFORE_S = 30
TIMEOUT_S = 30.0
SLOWER_BY_S = 5  # RFC 8628, 3.5: what `slow_down` asks for

console = SafeConsole()
errors = SafeConsole(stderr=True)


class NotSignedInError(ReconError):
    """There is no session, or it has ended."""

    def __init__(self) -> None:
        super().__init__("not signed in: run `recon login`")


class SignInFailedError(ReconError):
    """The sign-in service refused."""


def login(
    logout: Annotated[bool, typer.Option("--logout", help="End the session instead.")] = False,
    token: Annotated[bool, typer.Option("--token", help="Print the session's access token, for scripts.")] = False,
    service: Annotated[
        str | None,
        typer.Option(
            metavar="CLIENT_ID",
            help="Print an access token of a service, as `recon-service` or `recon-service-analyst`: no browser, and "
            "the session stays as it is.",
        ),
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="The service's secret; by default the one that the local stack generated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Who is signed in, as data.")] = False,
) -> None:
    """Sign in with a browser, here or on another device: the command shows an address and a code, and waits.

    The session is kept in the state folder, readable by you alone, and renewed by the commands that need it.
    """
    state_dir = get_settings().state_dir
    endpoints = Endpoints.load(state_dir)
    keycloak = keycloak_of(endpoints)
    if service is not None:
        print(service_token(keycloak, service, secret_file))
        return
    if token:
        print(session_token(endpoints, state_dir))
        return
    if logout:
        end_session(keycloak, state_dir)
        console.print("signed out")
        return
    answer = device_flow(keycloak, lambda text: errors.print(text, highlight=False))
    save_session(state_dir, answer)
    who = read_claims(answer["access_token"])
    roles = [role for role in ("viewer", "analyst", "admin") if role in who.get("realm_access", {}).get("roles", [])]
    if as_json:
        print(json.dumps({"username": who.get("preferred_username"), "roles": roles}))
    else:
        console.print(f"signed in as {who.get('preferred_username')} ({roles[-1] if roles else 'no role'})")
    if not roles:
        raise typer.Exit(ExitCode.NOT_READY)


def keycloak_of(endpoints: Endpoints) -> KeycloakEndpoint:
    """The stack's Keycloak. Raises SignInFailedError when the stack has none."""
    if endpoints.keycloak is None:
        raise SignInFailedError("this stack was started without Keycloak: nobody can sign in")
    return endpoints.keycloak


def service_token(keycloak: KeycloakEndpoint, client_id: str, secret_file: Path | None = None) -> str:
    """An access token by client credentials (RFC 6749, 4.4). Raises SignInFailedError."""
    known = keycloak.clients.get(client_id)
    secret = secret_file.read_text(encoding="utf-8").strip() if secret_file else known.secret if known else None
    if secret is None:
        raise SignInFailedError(f"this stack has no secret for {client_id}: give --secret-file")
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    answer = _post(keycloak, "token", form)
    if "access_token" not in answer:
        raise SignInFailedError(f"sign-in refused: {answer.get('error_description') or answer.get('error')}")
    return str(answer["access_token"])


def device_flow(keycloak: KeycloakEndpoint, say: Any, sleep: Any = time.sleep) -> dict[str, Any]:
    """RFC 8628 with PKCE: show the code, ask until it is confirmed. Raises SignInFailedError."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {"client_id": CLIENT_ID, "code_challenge": challenge, "code_challenge_method": "S256"}
    begun = _post(keycloak, "auth/device", asked)
    if "device_code" not in begun:
        raise SignInFailedError(f"sign-in refused: {begun.get('error_description') or begun.get('error')}")
    say(f"Open {begun['verification_uri_complete']}\nand confirm the code {begun['user_code']}")
    wait_s = float(begun.get("interval", 5))
    deadline = time.monotonic() + float(begun["expires_in"])
    while time.monotonic() < deadline:
        sleep(wait_s)
        answer = _post(
            keycloak,
            "token",
            {
                "client_id": CLIENT_ID,
                "grant_type": GRANT_DEVICE,
                "device_code": begun["device_code"],
                "code_verifier": verifier,
            },
        )
        match answer.get("error"):
            case None:
                return answer
            case "authorization_pending":
                continue
            case "slow_down":
                wait_s += SLOWER_BY_S
            case error:
                raise SignInFailedError(f"sign-in refused: {answer.get('error_description') or error}")
    raise SignInFailedError("nobody confirmed the code in time")


def _post(keycloak: KeycloakEndpoint, path: str, form: Mapping[str, str]) -> dict[str, Any]:
    url = f"{keycloak.issuer}/protocol/openid-connect/{path}"
    try:
        with https.client(keycloak.ca_file, TIMEOUT_S) as http:
            answer = http.post(url, data=dict(form))
            return dict(answer.json()) if answer.content else {}
    except (httpx.HTTPError, ValueError) as error:
        raise SignInFailedError(f"the sign-in service does not answer at {keycloak.url}") from error


def read_claims(token: str) -> dict[str, Any]:
    """Claims of a token that we were just given, to show them; nothing here trusts them."""
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def save_session(state_dir: Path, answer: Mapping[str, Any]) -> None:
    """Keep access and refresh token, for this user only, replaced atomically."""
    kept = {
        "access_token": answer["access_token"],
        "refresh_token": answer.get("refresh_token", ""),
        "expires_at": time.time() + float(answer.get("expires_in", 0)),
    }
    path = state_dir / SESSION_FILE
    draft = path.with_suffix(".tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(kept, file)
    draft.replace(path)


def session_token(endpoints: Endpoints, state_dir: Path) -> str:
    """A valid access token of the session, renewed when it is about to end. Raises NotSignedInError."""
    try:
        kept = json.loads((state_dir / SESSION_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise NotSignedInError from None
    if kept["expires_at"] - RENEW_BEFORE_S > time.time():
        return str(kept["access_token"])
    form = {"client_id": CLIENT_ID, "grant_type": "refresh_token", "refresh_token": kept["refresh_token"]}
    answer = _post(keycloak_of(endpoints), "token", form)
    if "access_token" not in answer:
        raise NotSignedInError
    save_session(state_dir, answer)
    return str(answer["access_token"])


def end_session(keycloak: KeycloakEndpoint, state_dir: Path) -> None:
    """Tell Keycloak, and forget the tokens."""
    path = state_dir / SESSION_FILE
    with contextlib.suppress(FileNotFoundError, ValueError, SignInFailedError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        _post(keycloak, "logout", {"client_id": CLIENT_ID, "refresh_token": kept["refresh_token"]})
    path.unlink(missing_ok=True)
