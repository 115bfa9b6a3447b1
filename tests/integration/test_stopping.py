"""Stopping a pipeline whose Ray is gone."""

from __future__ import annotations

import socket

import pytest

from cluster import pipeline
from cluster.endpoints import Endpoints, RayEndpoint
from cluster.settings import Settings


@pytest.fixture
def gone(tmp_path):
    """Endpoints that name a Ray where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ray = RayEndpoint(address=f"127.0.0.1:{port}", dashboard_url="", token_file=tmp_path / "token", temp_dir=tmp_path)
    return Endpoints.model_construct(state_dir=tmp_path, ray=ray, sources=())


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch):
    monkeypatch.setattr(RayEndpoint, "authenticate", lambda _: None)

    def init(*_, **__):
        raise AssertionError("Ray would try for a minute")

    monkeypatch.setattr("ray.init", init)


def test_stop_does_not_wait_for_a_ray_that_is_gone(gone, loopback):
    assert pipeline.stop(Settings(state_dir=gone.state_dir), gone)


def test_status_says_that_ray_does_not_answer(gone, loopback):
    with pytest.raises(pipeline.PipelineNotRunningError, match="does not answer"):
        pipeline.status(Settings(state_dir=gone.state_dir), gone)


def test_a_stack_without_ray_has_no_pipeline(gone):
    with pytest.raises(pipeline.PipelineNotRunningError, match="without Ray"):
        pipeline.status(Settings(state_dir=gone.state_dir), gone.model_copy(update={"ray": None}))
