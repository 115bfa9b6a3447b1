"""Processes: found by pid and start time, and never the wrong one."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import time

import pytest

from cluster.stack import process
from cluster.stack.process import End, Processes, ProcessFailedError

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]
PARENT_CODE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""
PARENT = [sys.executable, "-S", "-c", PARENT_CODE]


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    for name in made.names():
        made.stop(name, timeout_ms=100)


def wait_for_output(processes, name):
    end = time.monotonic() + 20
    while not (text := processes.log_file(name).read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return text


def rewrite(processes, tmp_path, name, **changes):
    record = dataclasses.replace(processes.record(name), **changes)
    (tmp_path / "run" / f"{name}.json").write_text(json.dumps(dataclasses.asdict(record)))
    return record


def test_a_started_process_is_alive_until_it_is_stopped(processes):
    record = processes.start("sleeper", SLEEP, config="c")
    assert processes.alive("sleeper") == record
    assert processes.stop("sleeper", timeout_ms=5000) is End.ENDED
    assert processes.alive("sleeper") is None
    assert processes.names() == []


def test_another_view_of_the_same_folder_finds_it(processes, tmp_path):
    record = processes.start("sleeper", SLEEP, config="c")
    assert Processes(tmp_path).alive("sleeper") == record


def test_a_recycled_pid_is_not_killed(processes, tmp_path):
    """The record's pid belongs to a process that started at another time: somebody else's by now."""
    bystander = processes.start("bystander", SLEEP, config="c")
    processes.start("service", SLEEP, config="c")
    processes.stop("service", timeout_ms=5000)
    forged = dataclasses.asdict(dataclasses.replace(bystander, name="service", start_ticks=1, mark="another"))
    (tmp_path / "run" / "service.json").write_text(json.dumps(forged))
    assert processes.alive("service") is None
    assert not processes.stop("service", timeout_ms=100)
    assert processes.alive("bystander") == bystander
    assert processes.record("service") is None


def test_a_record_of_an_earlier_boot_is_only_forgotten(processes, tmp_path):
    processes.start("service", SLEEP, config="c")
    real = processes.record("service")
    rewrite(processes, tmp_path, "service", boot_id="an earlier one")
    assert processes.alive("service") is None
    assert not processes.stop("service", timeout_ms=100)
    assert process.start_ticks(real.pid) == real.start_ticks
    (tmp_path / "run" / "service.json").write_text(json.dumps(dataclasses.asdict(real)))


def test_a_signal_reaches_only_the_process_that_started_then(processes):
    record = processes.start("sleeper", SLEEP, config="c")
    process._signal(record.pid, record.start_ticks + 1, signal.SIGKILL)
    time.sleep(0.1)
    assert processes.alive("sleeper") == record


def test_who_does_not_listen_is_killed(processes):
    processes.start("stubborn", STUBBORN, config="c")
    wait_for_output(processes, "stubborn")
    began = time.monotonic()
    assert processes.stop("stubborn", timeout_ms=200) is End.KILLED
    assert time.monotonic() - began >= 0.2
    assert processes.alive("stubborn") is None


def test_children_go_with_their_parent(processes):
    processes.start("parent", PARENT, config="c")
    child = int(wait_for_output(processes, "parent"))
    assert process.start_ticks(child) is not None
    processes.stop("parent", timeout_ms=5000)
    assert process.start_ticks(child) is None


def test_children_that_outlived_a_killed_parent_are_found_by_their_mark(processes):
    processes.start("parent", PARENT, config="c")
    child = int(wait_for_output(processes, "parent"))
    processes.kill("parent")
    assert processes.alive("parent") is None
    assert process.start_ticks(child) is not None
    assert processes.stop("parent", timeout_ms=5000)
    assert process.start_ticks(child) is None


def test_a_process_that_ends_while_starting_is_reported_with_its_log(processes):
    processes.start("broken", [sys.executable, "-S", "-c", "print('no port for me')"], config="c")
    with pytest.raises(ProcessFailedError, match="no port for me"):
        processes.wait_ready("broken", lambda: False, timeout_ms=20_000, poll_ms=10)


def test_a_process_that_never_gets_ready_is_reported(processes):
    processes.start("slow", SLEEP, config="c")
    with pytest.raises(ProcessFailedError, match="was not ready after 50 ms"):
        processes.wait_ready("slow", lambda: False, timeout_ms=50, poll_ms=10)


def test_the_log_of_the_run_before_is_kept(processes):
    for word in ("first", "second"):
        processes.start("talker", [sys.executable, "-S", "-c", f"print('{word}')"], config="c")
        wait_for_output(processes, "talker")
        processes.stop("talker", timeout_ms=5000)
    log_file = processes.log_file("talker")
    assert log_file.read_text() == "second\n"
    assert log_file.with_suffix(".log.1").read_text() == "first\n"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "x"}'], ids=["empty", "torn", "list", "incomplete"])
def test_an_unreadable_record_counts_as_none(processes, tmp_path, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "odd.json").write_text(content)
    assert processes.record("odd") is None
    assert not processes.stop("odd", timeout_ms=100)


def test_a_digest_follows_the_content_of_files(tmp_path):
    conf = tmp_path / "conf"
    conf.write_text("a")
    first = process.config_digest(conf, "x")
    assert process.config_digest(conf, "x") == first
    conf.write_text("b")
    assert process.config_digest(conf, "x") != first
