"""Certificates: who signed them, for what, and who may read the keys."""

from __future__ import annotations

import datetime as dt
import ipaddress
import stat

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.stack import certificates


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return certificates.ensure(tmp_path_factory.mktemp("tls"))


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_every_leaf_is_signed_by_the_authority(made):
    authority = load(made.ca_file)
    for pair in [*made.servers.values(), *made.clients.values()]:
        load(pair.cert_file).verify_directly_issued_by(authority)


@pytest.mark.parametrize("role", certificates.KAFKA_ROLES)
def test_a_client_certificate_names_its_role_and_is_no_server(made, role):
    cert = load(made.clients[role].cert_file)
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == role
    usage = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize("name", certificates.SERVERS)
def test_a_server_certificate_is_for_loopback_only(made, name):
    cert = load(made.servers[name].cert_file)
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.IPv4Address("127.0.0.1")]


@pytest.mark.parametrize("name", [name for name in certificates.SERVERS if name != "kafka"])
def test_only_the_broker_may_log_in_with_a_server_certificate(made, name):
    usage = load(made.servers[name].cert_file).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CLIENT_AUTH not in usage


def test_no_leaf_can_sign(made):
    for pair in [*made.servers.values(), *made.clients.values()]:
        cert = load(pair.cert_file)
        assert not cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert not cert.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_files_are_for_their_owner_alone(made):
    folder = made.ca_file.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_second_start_keeps_what_is_there(made):
    before = {path.name: path.read_bytes() for path in made.ca_file.parent.iterdir()}
    certificates.ensure(made.ca_file.parent)
    assert {path.name: path.read_bytes() for path in made.ca_file.parent.iterdir()} == before


def test_a_leaf_close_to_its_end_is_renewed_by_the_same_authority(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "LEAF_DAYS", certificates.RENEW_DAYS - 1)
    first = certificates.ensure(tmp_path)
    old = load(first.servers["kafka"].cert_file)
    monkeypatch.undo()
    second = certificates.ensure(tmp_path)
    new = load(second.servers["kafka"].cert_file)
    assert new.not_valid_after_utc > old.not_valid_after_utc + dt.timedelta(days=300)
    new.verify_directly_issued_by(load(first.ca_file))


def test_a_new_authority_replaces_every_leaf(tmp_path):
    first = certificates.ensure(tmp_path)
    (tmp_path / "ca.key").unlink()
    second = certificates.ensure(tmp_path)
    load(second.clients["reader"].cert_file).verify_directly_issued_by(load(second.ca_file))
    assert first.ca_file == second.ca_file
