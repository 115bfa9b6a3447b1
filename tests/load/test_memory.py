"""The arithmetic of the memory watch, and that it still knows the engine's processes by their names."""

from __future__ import annotations

import math

import pytest

from actors import remote
from cluster.supervisor import Supervisor
from tests.load.memory import PARTS, TITLES, Sample, part_of, slope_per_hour, slopes


def test_a_steady_climb_is_told_as_mib_an_hour():
    points = [(60.0 * minute, 100.0 + 0.5 * minute) for minute in range(30)]
    assert slope_per_hour(points) == pytest.approx(30.0)


def test_one_moment_has_no_slope():
    assert math.isnan(slope_per_hour([(1.0, 100.0)]))


def test_the_warm_up_does_not_count():
    samples = [Sample(60.0 * minute, dict.fromkeys(PARTS, float(min(minute, 10)))) for minute in range(30)]
    assert set(slopes(samples, warm_up_s=600.0).values()) == {0.0}
    assert slopes(samples, warm_up_s=0.0)["shards"] > 0


def test_processes_are_known_by_the_names_that_ray_gives_them():
    ours = (remote.ReaderActor, remote.ShardActor)
    names = {actor.__ray_metadata__.class_name for actor in ours} | {Supervisor.__name__}
    assert {f"ray::{name}" for name in names} <= set(TITLES)
    assert part_of("ray", "ray::ShardActor.take") == "shards"
    assert part_of("ray", "raylet --node") == "ray"
    assert part_of("kafka", "java") == "kafka"
