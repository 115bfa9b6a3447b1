"""The stack's own certificate authority: server certificates for loopback, client certificates that name a role."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY_DAYS = 3650
LEAF_DAYS = 397  # browsers refuse longer-lived server certificates
RENEW_DAYS = 30  # a certificate this close to its end is made anew at the next start
CLOCK_SKEW = dt.timedelta(minutes=5)

SERVERS = ("kafka", "registry", "postgres", "redis", "keycloak", "api")
KAFKA_ROLES = ("admin", "pipeline", "producer", "reader")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key as PEM files; `chain_file` holds the key, the certificate and the CA in one file."""

    cert_file: Path
    key_file: Path
    chain_file: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """Everything that `ensure` made: the CA's certificate, servers by name and Kafka clients by role."""

    ca_file: Path
    servers: dict[str, KeyPair]
    clients: dict[str, KeyPair]


def ensure(folder: Path) -> Certificates:
    """Make what is missing or close to its end in `folder` (0700; files 0600) and return all of it.

    The CA's key stays in the folder: it only signs for loopback, and a later start must be able to renew a leaf.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    authority = _Authority.ensure(folder)
    return Certificates(
        ca_file=authority.cert_file,
        servers={name: authority.leaf(folder, f"server-{name}", name, server=True) for name in SERVERS},
        clients={role: authority.leaf(folder, f"client-{role}", role, server=False) for role in KAFKA_ROLES},
    )


class _Authority:
    def __init__(self, cert_file: Path, key: ec.EllipticCurvePrivateKey, cert: x509.Certificate) -> None:
        self.cert_file = cert_file
        self._key = key
        self._cert = cert

    @classmethod
    def ensure(cls, folder: Path) -> _Authority:
        cert_file, key_file = folder / "ca.pem", folder / "ca.key"
        if key_file.exists() and (cert := _valid(cert_file)) is not None:
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            if isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == cert.public_key():
                return cls(cert_file, key, cert)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("recon local authority")
        usage = _key_usage(sign_certificates=True)
        cert = (
            _builder(name, name, key, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(key_file, _pem(key))
        _write(cert_file, cert.public_bytes(serialization.Encoding.PEM))
        return cls(cert_file, key, cert)

    def leaf(self, folder: Path, file_name: str, common_name: str, *, server: bool) -> KeyPair:
        pair = KeyPair(folder / f"{file_name}.pem", folder / f"{file_name}.key", folder / f"{file_name}-chain.pem")
        cert = _valid(pair.cert_file)
        if cert is not None and self._signed(cert) and pair.key_file.exists() and pair.chain_file.exists():
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = [ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH]
        if file_name == "server-kafka":
            purpose.append(ExtendedKeyUsageOID.CLIENT_AUTH)  # the broker logs in to its own controller
        builder = (
            _builder(_name(common_name), self._cert.subject, key, LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purpose), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if server:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        authority = self._cert.public_bytes(serialization.Encoding.PEM)
        _write(pair.key_file, _pem(key))
        _write(pair.chain_file, _pem(key) + signed + authority)
        _write(pair.cert_file, signed)  # last: its presence says that the others are there
        return pair

    def _signed(self, cert: x509.Certificate) -> bool:
        try:
            cert.verify_directly_issued_by(self._cert)
        except Exception:  # noqa: BLE001 - any reason to doubt it means a new one
            return False
        return True


def _valid(path: Path) -> x509.Certificate | None:
    """The certificate in a file, or None when there is none that lasts."""
    try:
        cert = x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    renew_at = cert.not_valid_after_utc - dt.timedelta(days=RENEW_DAYS)
    return cert if dt.datetime.now(dt.UTC) < renew_at else None


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
