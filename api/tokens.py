"""Verifies Keycloak's access tokens: signature by JWKS with caching and rotation, issuer, audience, times, algorithm.

What is refused, and why it matters:
- any algorithm off the list, and any that does not fit the key's own type (`none`; HS256 keyed with our public key),
- a key id that the issuer does not publish (asked at most every `refetch_gap_s`, so that forged ids cost nothing),
- identity and refresh tokens (`typ` other than Bearer): they are not meant for an API,
- a token without one of the realm's roles.
When the issuer does not answer, the keys known so far go on serving for `keys_stale_s`.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import httpx
import jwt
import structlog

from api.access import highest_role
from api.caller import Caller
from api.options import TokenOptions
from api.problems import NotAllowedError, NotSignedInError, UnavailableError

log = structlog.get_logger("api.tokens")

TOKEN_CHARS_MAX = 8_192
VERIFIED_TOKENS_MAX = 4_096  # a second request with the same token skips the elliptic curve
FETCH_TIMEOUT_S = 5.0
_KEY_TYPES = {"ES256": "EC", "RS256": "RSA"}


class FetchKeys(Protocol):
    """Gives the JWKS document, or raises when the issuer does not answer."""

    async def __call__(self) -> Mapping[str, Any]:
        """Fetch."""
        ...


def fetch_from(options: TokenOptions) -> FetchKeys:
    """Fetch over HTTPS with the configured CA."""
    context = ssl.create_default_context(cafile=options.ca_file or None)

    async def fetch() -> Mapping[str, Any]:
        async with httpx.AsyncClient(verify=context, timeout=FETCH_TIMEOUT_S, trust_env=False) as client:
            answer = await client.get(options.jwks_url)
            answer.raise_for_status()
            document: Mapping[str, Any] = answer.json()
            return document

    return fetch


class KeySet:
    """The issuer's signing keys, by key id."""

    def __init__(self, options: TokenOptions, fetch: FetchKeys, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")
        self._lock = asyncio.Lock()
        self._refresh: asyncio.Task[None] | None = None
        self.generation = 0

    @property
    def known(self) -> bool:
        """Whether any key can serve now."""
        return bool(self._keys) and self._clock() - self._fetched_at < self._options.keys_stale_s

    @property
    def fresh(self) -> bool:
        """Whether the issuer answered lately."""
        return self._clock() - self._fetched_at < 2 * self._options.keys_fresh_s

    async def get(self, key_id: str) -> jwt.PyJWK:
        """The key. Raises NotSignedInError when the issuer has none of this id, UnavailableError without any keys."""
        age = self._clock() - self._fetched_at
        if key_id in self._keys and age < self._options.keys_stale_s:
            if age > self._options.keys_fresh_s and (self._refresh is None or self._refresh.done()):
                self._refresh = asyncio.create_task(self.refresh())
            return self._keys[key_id]
        await self.refresh()
        if not self.known:
            raise UnavailableError("The sign-in service does not answer, so no token can be verified.")
        if key_id not in self._keys:
            raise NotSignedInError("The token is signed by an unknown key.")
        return self._keys[key_id]

    async def refresh(self) -> None:
        """Ask the issuer, unless somebody just did. Keeps what is known when it does not answer."""
        async with self._lock:
            if self._clock() - self._asked_at < self._options.refetch_gap_s:
                return
            self._asked_at = self._clock()
            try:
                document = await self._fetch()
                keys = self._parse(document)
            except Exception as error:  # noqa: BLE001 - whatever it is, the known keys go on serving
                log.warning("signing_keys_not_fetched", error=repr(error)[:200])
                # Without any key there is nothing to serve: ask again at the next request, a second from now.
                if not self._keys:
                    self._asked_at = self._clock() - self._options.refetch_gap_s + 1
                return
            self._fetched_at = self._clock()
            if keys.keys() != self._keys.keys():
                self.generation += 1
                log.info("signing_keys_changed", key_ids=sorted(keys))
            self._keys = keys

    def _parse(self, document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
        keys: dict[str, jwt.PyJWK] = {}
        for raw in document["keys"]:
            algorithm = raw.get("alg")
            if raw.get("use", "sig") != "sig" or algorithm not in self._options.algorithms:
                continue
            if raw.get("kty") == _KEY_TYPES[algorithm] and raw.get("kid"):
                keys[raw["kid"]] = jwt.PyJWK(raw, algorithm=algorithm)
        if not keys:
            raise ValueError("the document holds no usable signing key")
        return keys


class TokenVerifier:
    """Turns a token into a caller, or refuses it."""

    def __init__(self, options: TokenOptions, keys: KeySet, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        self._verified: OrderedDict[bytes, Mapping[str, Any]] = OrderedDict()
        self._generation = 0
        self.keys = keys

    async def verify(self, token: str, *, request_id: str = "", source_ip: str = "") -> Caller:
        """The caller. Raises NotSignedInError, NotAllowedError (no role) or UnavailableError (no keys)."""
        claims = await self._claims(token)
        access = claims.get("realm_access")
        names = access.get("roles", ()) if isinstance(access, dict) else ()
        role = highest_role(name for name in names if isinstance(name, str))
        if role is None:
            raise NotAllowedError("The token carries none of the roles viewer, analyst, admin.")
        return Caller(
            subject=str(claims["sub"]),
            username=str(claims.get("preferred_username") or claims["sub"]),
            name=str(claims.get("name") or ""),
            role=role,
            expires_s=int(claims["exp"]),
            client=str(claims.get("azp") or ""),
            request_id=request_id,
            source_ip=source_ip,
        )

    async def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            raise NotSignedInError("Not a token.")
        digest = hashlib.sha256(token.encode()).digest()
        self._forget_withdrawn()
        claims = self._verified.get(digest)
        if claims is not None and self.keys.known:
            if self._clock() >= claims["exp"] + self._options.leeway_s:
                raise NotSignedInError("The token has expired.")
            self._verified.move_to_end(digest)
            return claims
        claims = await self._decode(token)
        self._forget_withdrawn()
        self._verified[digest] = claims
        if len(self._verified) > VERIFIED_TOKENS_MAX:
            self._verified.popitem(last=False)
        return claims

    def _forget_withdrawn(self) -> None:
        """A key that the issuer withdraws takes the tokens along that it has signed."""
        if self._generation != self.keys.generation:
            self._verified.clear()
            self._generation = self.keys.generation

    async def _decode(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise NotSignedInError("Not a token.") from error
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._options.algorithms or not isinstance(key_id, str):
            raise NotSignedInError("The token's algorithm is not accepted.")
        key = await self.keys.get(key_id)
        if key.algorithm_name != algorithm:
            raise NotSignedInError("The token's algorithm is not its key's.")
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._options.audience,
                issuer=self._options.issuer,
                leeway=self._options.leeway_s,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise NotSignedInError("The token has expired.") from error
        except jwt.InvalidAudienceError as error:
            raise NotSignedInError("The token is meant for another audience.") from error
        except jwt.InvalidTokenError as error:
            raise NotSignedInError("The token does not hold.") from error
        if claims.get("typ", "Bearer") != "Bearer":
            raise NotSignedInError("Not an access token.")
        return claims
