"""Downloads: what is pinned is what is used."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile

import pytest

from cluster.stack import artifacts
from cluster.stack.artifacts import Artifact, ArtifactCache, ArtifactError


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """A cache whose lock names one zip, and whose downloads come from a dictionary."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("thing-1/bin/run", "hello")
    data = content.getvalue()
    entry = {
        "group": "g",
        "artifact": "thing",
        "version": "1",
        "classifier": "",
        "packaging": "zip",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    lock = tmp_path / "lock.json"
    lock.write_text(json.dumps({"thing": [entry]}))
    monkeypatch.setattr(artifacts, "LOCK_FILE", lock)
    served = {"data": data, "downloads": 0}

    def download(_self, artifact, folder):
        served["downloads"] += 1
        path = folder / artifact.file_name
        path.write_bytes(served["data"])
        return path

    monkeypatch.setattr(ArtifactCache, "_download", download)
    return ArtifactCache(tmp_path / "cache"), served


def test_an_archive_is_downloaded_once_and_unpacked_without_its_top_folder(pinned):
    cache, served = pinned
    folder = cache.unpacked("thing")
    assert (folder / "bin" / "run").read_text() == "hello"
    assert cache.unpacked("thing") == folder
    assert served["downloads"] == 1
    assert cache.is_warm("thing")


def test_other_bytes_than_pinned_are_refused(pinned, tmp_path):
    cache, served = pinned
    served["data"] = b"something else"
    with pytest.raises(ArtifactError, match="SHA-256"):
        cache.jars("thing")
    assert not list((tmp_path / "cache" / "downloads").iterdir())


def test_a_truncated_download_is_fetched_again(pinned, tmp_path):
    cache, served = pinned
    [path] = cache.jars("thing")
    path.write_bytes(b"")
    assert cache.jars("thing")[0].stat().st_size == len(served["data"])
    assert served["downloads"] == 2


def test_a_folder_whose_build_fails_never_appears(pinned, tmp_path):
    cache, _ = pinned

    def fail(_folder):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.unpacked("thing", fail)
    assert not list((tmp_path / "cache" / "unpacked").iterdir())


def test_another_build_gets_another_folder(pinned):
    cache, _ = pinned
    assert cache.unpacked("thing", variant="a") != cache.unpacked("thing", variant="b")


def test_a_tar_archive_cannot_write_outside_its_folder(tmp_path):
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    target = tmp_path / "in"
    target.mkdir()
    with pytest.raises(tarfile.OutsideDestinationError):
        artifacts._unpack(archive, target)


def test_the_committed_lock_pins_everything_and_names_no_host():
    text = artifacts.LOCK_FILE.read_text()
    assert "://" not in text
    for name, entries in json.loads(text).items():
        assert entries, name
        for entry in entries:
            assert len(Artifact(**entry).sha256) == 64


def test_kafka_and_its_client_library_are_of_one_version():
    versions = {a.artifact: a.version for a in artifacts.locked("kafka")}
    assert versions["kafka-clients"] == versions["kafka_2.13"]
