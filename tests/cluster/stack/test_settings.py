"""Settings: from the environment, checked, frozen."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from cluster.settings import PORT_OFFSETS, PORT_SPAN, Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("RECON_"):
            monkeypatch.delenv(name)


def test_a_variable_with_the_prefix_is_read(monkeypatch):
    monkeypatch.setenv("RECON_SHARDS", "5")
    assert Settings().shards == 5


def test_sources_are_json(monkeypatch):
    monkeypatch.setenv(
        "RECON_SOURCES", '[{"name": "CORE", "topic": "c"}, {"name": "CARD", "topic": "k", "expected": false}]'
    )
    assert [(s.name, s.topic, s.expected) for s in Settings().source_specs()] == [
        ("CORE", "c", True),
        ("CARD", "k", False),
    ]


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError):
        Settings().shards = 3


@pytest.mark.parametrize(
    "values",
    [
        {"bind_host": "0.0.0.0"},
        {"shards": 0},
        {"shards": 129},
        {"port_base": 80},
        {"flush_interval_ms": 0},
        {"sources": []},
        {"sources": [{"name": "A", "topic": "t"}, {"name": "A", "topic": "u"}]},
        {"sources": [{"name": "A", "topic": "t"}, {"name": "B", "topic": "t"}]},
        {"sources": [{"name": "A", "topic": "t", "expected": False}]},
    ],
    ids=[
        "open to all",
        "no shard",
        "too many shards",
        "low port",
        "no interval",
        "no source",
        "same name",
        "same topic",
        "none expected",
    ],
)
def test_nonsense_is_refused(values):
    with pytest.raises(ValidationError):
        Settings(**values)


def test_paths_are_absolute_because_actors_run_elsewhere():
    settings = Settings(state_dir="here")
    assert settings.state_dir.is_absolute()
    assert settings.cache_dir.is_absolute()


def test_ports_are_distinct_and_inside_the_span():
    assert sorted(PORT_OFFSETS.values()) == list(range(PORT_SPAN))


def test_every_number_of_a_setting_has_its_unit_or_counts_something():
    with_unit = ("_ms", "_mib", "_rows", "_rows_max", "_max", "_days", "_base")
    counts = {"shards", "readers", "partitions_per_topic", "ray_cpus", "api_replicas"}
    for name, field in Settings.model_fields.items():
        if field.annotation is int and name not in counts:
            assert name.endswith(with_unit), name
