"""Tokens: what holds and what does not, with keys of our own and a clock of our own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from api.access import Role
from api.options import ApiOptions, PublicConfig, TokenOptions
from api.problems import NotAllowedError, NotSignedInError, UnavailableError
from api.tokens import KeySet, TokenVerifier

from .conftest import TrustedKey

OPTIONS = TokenOptions(issuer="https://sign-in.invalid/realms/recon", jwks_url="unused")
API = ApiOptions(tokens=OPTIONS, public=PublicConfig("https://sign-in.invalid"), postgres={}, redis_url="")


class Issuer:
    """Publishes keys, counts how often it is asked, and can be away."""

    def __init__(self, *keys: TrustedKey) -> None:
        self.keys = list(keys)
        self.extra: list[dict[str, Any]] = []
        self.asked = 0
        self.away = False

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if self.away:
            raise ConnectionError("away")
        return {"keys": [*(key.jwk() for key in self.keys), *self.extra]}


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def verifier(issuer: Issuer, clock: Clock | None = None) -> TokenVerifier:
    return TokenVerifier(OPTIONS, KeySet(OPTIONS, issuer, clock or Clock()))


KEY = TrustedKey()


async def test_a_good_token_names_its_caller() -> None:
    caller = await verifier(Issuer(KEY)).verify(KEY.sign(API, name="Tess Ter"), request_id="r", source_ip="1.2.3.4")
    assert (caller.username, caller.name, caller.role) == ("tess", "Tess Ter", Role.ADMIN)
    assert (caller.request_id, caller.source_ip, caller.client) == ("r", "1.2.3.4", "recon-test")


REFUSED: dict[str, dict[str, Any]] = {  # numbers are seconds from now
    "expired beyond the leeway": {"iat": -400, "exp": -15},
    "not yet valid": {"nbf": 60},
    "issued in the future": {"iat": 60},
    "another issuer": {"iss": "https://sign-in.invalid/realms/other"},
    "another audience": {"aud": "account"},
    "no audience": {"aud": None},
    "no expiry": {"exp": None},
    "no subject": {"sub": None},
    "an identity token": {"typ": "ID"},
    "a refresh token": {"typ": "Refresh"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED.keys())
async def test_a_token_is_refused(changes: dict[str, Any]) -> None:
    now = int(time.time())
    claims = {name: value + now if isinstance(value, int) else value for name, value in changes.items()}
    with pytest.raises(NotSignedInError):
        await verifier(Issuer(KEY)).verify(KEY.sign(API, **claims))


ACCEPTED: dict[str, dict[str, Any]] = {
    "several audiences": {"aud": ["account", "recon-api"]},
    "roles beside ours": {"realm_access": {"roles": ["offline_access", "viewer"]}},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_a_token_is_accepted(changes: dict[str, Any]) -> None:
    await verifier(Issuer(KEY)).verify(KEY.sign(API, **changes))


async def test_clocks_may_differ_by_the_leeway() -> None:
    now = int(time.time())
    await verifier(Issuer(KEY)).verify(KEY.sign(API, iat=now - 400, exp=now - 3))
    await verifier(Issuer(KEY)).verify(KEY.sign(API, iat=now + 5, nbf=now + 5))


@pytest.mark.parametrize(
    "access", [None, {"roles": []}, {"roles": "admin"}, ["admin"], {"roles": [["admin"]]}], ids=repr
)
async def test_roles_that_are_none_of_ours_do_not_suffice(access: Any) -> None:
    with pytest.raises(NotAllowedError):
        await verifier(Issuer(KEY)).verify(KEY.sign(API, realm_access=access))


async def test_the_highest_role_counts() -> None:
    token = KEY.sign(API, realm_access={"roles": ["viewer", "analyst"]})
    assert (await verifier(Issuer(KEY)).verify(token)).role is Role.ANALYST


def unsigned(header: dict[str, Any]) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = jwt.decode(KEY.sign(API), options={"verify_signature": False})
    return f"{part(header)}.{part(claims)}."


def signed_with_public_key() -> str:
    """The classic confusion: HMAC keyed with the issuer's public key."""
    pem = KEY.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = unsigned({"alg": "HS256", "kid": KEY.key_id}).rstrip(".")
    mac = hmac.new(pem, body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


FORGED = {
    "algorithm none": unsigned({"alg": "none", "kid": KEY.key_id}),
    "HMAC with the public key": signed_with_public_key(),
    "algorithm of another key type": unsigned({"alg": "RS256", "kid": KEY.key_id}) + "AAAA",
    "no key id": unsigned({"alg": "ES256"}) + "AAAA",
    "signed by a stranger under a known key id": TrustedKey(key_id=KEY.key_id).sign(API),
    "signed by an unknown key": TrustedKey(key_id="stranger").sign(API),
    "empty": "",
    "too long": "a." * 8_000,
    "not text": "\ud800.\ud800.\ud800",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
async def test_a_forged_token_is_refused(token: str) -> None:
    with pytest.raises(NotSignedInError):
        await verifier(Issuer(KEY)).verify(token)


async def test_a_changed_payload_is_refused() -> None:
    head, _, signature = KEY.sign(API).split(".")
    other = KEY.sign(API, preferred_username="mallory").split(".")[1]
    with pytest.raises(NotSignedInError):
        await verifier(Issuer(KEY)).verify(f"{head}.{other}.{signature}")


async def test_rsa_keys_serve_as_well() -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    issuer = Issuer()
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    issuer.extra = [{**public, "kid": "rsa", "alg": "RS256", "use": "sig"}]
    claims = jwt.decode(KEY.sign(API), options={"verify_signature": False})
    token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "rsa"})
    assert (await verifier(issuer).verify(token)).username == "tess"


async def test_keys_for_encryption_and_other_curves_are_not_used() -> None:
    issuer = Issuer()
    curve = ec.generate_private_key(ec.SECP384R1())
    other = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384).to_jwk(curve.public_key(), as_dict=True)
    issuer.extra = [{**KEY.jwk(), "use": "enc"}, {**other, "kid": "p384", "alg": "ES384", "use": "sig"}]
    with pytest.raises(UnavailableError):
        await verifier(issuer).verify(KEY.sign(API))


async def test_keys_are_asked_for_once() -> None:
    issuer = Issuer(KEY)
    checks = verifier(issuer)
    for number in range(5):
        await checks.verify(KEY.sign(API, sub=str(number)))
    assert issuer.asked == 1


async def test_a_new_key_is_found_and_an_old_one_forgotten() -> None:
    clock, issuer = Clock(), Issuer(KEY)
    checks = verifier(issuer, clock)
    old = KEY.sign(API)
    await checks.verify(old)
    new = TrustedKey(key_id="rotated")
    issuer.keys = [new]
    clock.at += OPTIONS.refetch_gap_s + 1
    await checks.verify(new.sign(API))
    with pytest.raises(NotSignedInError):
        await checks.verify(old)


async def test_unknown_key_ids_do_not_make_us_ask_again_and_again() -> None:
    clock, issuer = Clock(), Issuer(KEY)
    checks = verifier(issuer, clock)
    await checks.verify(KEY.sign(API))
    clock.at += OPTIONS.refetch_gap_s + 1
    for number in range(10):
        with pytest.raises(NotSignedInError):
            await checks.verify(TrustedKey(key_id=f"forged-{number}").sign(API))
    assert issuer.asked == 2


async def test_known_keys_serve_while_the_issuer_is_away_but_not_for_ever() -> None:
    clock, issuer = Clock(), Issuer(KEY)
    checks = verifier(issuer, clock)
    await checks.verify(KEY.sign(API))
    issuer.away = True
    clock.at += OPTIONS.keys_stale_s - 1
    await checks.verify(KEY.sign(API, jti="another"))
    assert not checks.keys.fresh
    clock.at += OPTIONS.refetch_gap_s + 2
    with pytest.raises(UnavailableError):
        await checks.verify(KEY.sign(API, jti="a third"))


async def test_without_any_keys_nobody_is_let_in_and_nobody_is_blamed() -> None:
    issuer = Issuer(KEY)
    issuer.away = True
    with pytest.raises(UnavailableError):
        await verifier(issuer).verify(KEY.sign(API))


async def test_a_remembered_token_expires_all_the_same() -> None:
    now = int(time.time())
    moment = [float(now)]
    checks = TokenVerifier(OPTIONS, KeySet(OPTIONS, Issuer(KEY), Clock()), clock=lambda: moment[0])
    token = KEY.sign(API, exp=now + 60)
    await checks.verify(token)
    moment[0] = now + 60 + OPTIONS.leeway_s + 1
    with pytest.raises(NotSignedInError):
        await checks.verify(token)
