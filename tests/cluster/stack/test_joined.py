"""On somebody else's cluster: what is theirs is read and asked, never started, stopped or deleted."""

from __future__ import annotations

import pytest

from cluster import pipeline
from cluster.database import DatabaseError
from cluster.endpoints import Endpoints, StackNotUpError
from cluster.settings import Settings
from cluster.stack.doctor import examine
from cluster.stack.joined import JoinedStack, NotOursError, open_stack
from cluster.stack.stack import Plan, Stack
from schemas.places import ENDPOINTS_FILE

NOBODY = "127.0.0.1:1"


@pytest.fixture
def settings(tmp_path):
    return Settings(state_dir=tmp_path, ray_address=NOBODY)


@pytest.fixture
def written(endpoints):
    return endpoints.save().read_bytes()


def test_the_setting_decides(settings):
    assert type(open_stack(settings)) is JoinedStack
    assert type(open_stack(settings.model_copy(update={"ray_address": ""}))) is Stack


def test_endpoints_are_the_operators_and_ray_is_the_settings(settings, written):
    found = JoinedStack(settings).endpoints()
    assert found.ray.address == NOBODY
    assert found.model_copy(update={"ray": None}) == Endpoints.load(settings.state_dir)


def test_ray_elsewhere_is_not_kept_to_loopback(settings, written):
    elsewhere = settings.model_copy(update={"ray_address": "192.0.2.10:6379"})
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in JoinedStack(elsewhere).endpoints().ray.environment()
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in JoinedStack(settings).endpoints().ray.environment()


def test_without_endpoints_there_is_nothing_to_join(settings):
    with pytest.raises(StackNotUpError):
        JoinedStack(settings).up()
    [finding] = [finding for finding in examine(settings) if finding.level == "failed"]
    assert ENDPOINTS_FILE in finding.message


def test_what_does_not_answer_is_named(settings, written, loopback):
    stack = JoinedStack(settings)
    assert {status.name: status.state for status in stack.status()} == dict.fromkeys(
        ["kafka", "registry", "postgres", "redis", "ray"], "failing"
    )
    with pytest.raises(DatabaseError):
        stack.up()
    failed = {finding.subject for finding in examine(settings) if finding.level == "failed"}
    assert {"kafka", "postgres", "ray"} <= failed


def test_going_down_leaves_their_file(settings, written, loopback):
    assert JoinedStack(settings).down() is False
    with pytest.raises(NotOursError):
        JoinedStack(settings).down(wipe=True)
    assert (settings.state_dir / ENDPOINTS_FILE).read_bytes() == written


@pytest.mark.stack
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own matters
def test_the_pipeline_runs_and_ends_on_a_cluster_that_was_there(ray_stack, fresh_endpoints, tmp_path, running_stack):
    fresh_endpoints.model_copy(update={"state_dir": tmp_path, "ray": ray_stack.ray}).save()
    joined = JoinedStack(Settings(state_dir=tmp_path, ray_address=ray_stack.ray.address))
    try:
        joined.up(Plan(api=False))
        assert joined.pipeline_status()["state"] == "running"
        assert {status.state for status in joined.status()} == {"up"}
        assert joined.down() is True
        assert "problem" in joined.pipeline_status()
    finally:
        pipeline.disconnect()
    assert {status.name for status in running_stack.status() if status.state == "up"} >= {"kafka", "ray"}
