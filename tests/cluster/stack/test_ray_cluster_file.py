"""The file for `ray up`: as Ray wants it, and with nothing secret in it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).parents[3] / "ray-cluster.yaml"


@pytest.fixture(scope="module")
def config():
    return yaml.safe_load(FILE.read_text())


def test_ray_accepts_it(config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.autoscaler._private.util import prepare_config, validate_config  # noqa: PLC0415

        validate_config(prepare_config(config))


def test_it_asks_for_a_token_and_contains_none(config):
    starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in command for command in starts if "ray start" in command)
    assert not re.search(r"RAY_AUTH_TOKEN=|password|secret", FILE.read_text(), re.IGNORECASE)


def test_the_dashboard_stays_on_loopback(config):
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][1]
