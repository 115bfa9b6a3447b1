"""A scheduler that owns time and order: every thread of the engine runs only when it is its turn.

Threads of the engine become tasks. Exactly one runs at a time; it gives up its turn where it waits: at a call of a
service, a sleep, an event, a condition. What runs next is the earliest entry of a heap of (time, order), and all delays
come from one seeded generator, so a seed gives one history. Time is virtual, in microseconds.

A process is a group of tasks that dies as one. A dead process is never resumed: it stops between two steps, wherever it
stood, and nothing of it is cleaned up, as after `kill -9`. A frozen one goes on later.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Self

STEPS_MAX = 10_000  # of one history; most have two hundred
SLOW_STEP_US = 30_000  # what a step of a slow process takes longer, at most


class StoppedError(BaseException):
    """Unwinds a task when its history is over. Not an Exception, so that nothing takes it for a failure."""


class Process:
    """Tasks that live and die together. `skew_ms` is how far its clock is off."""

    def __init__(self, name: str, skew_ms: int = 0) -> None:
        self.name = name
        self.skew_ms = skew_ms
        self.alive = True
        self.frozen_until_us = 0
        self.slow_until_us = 0
        self.steps_left = -1
        self.on_last_step: Callable[[], Any] = lambda: None


class Task:
    """One thread of control. `token` tells the valid entry of the heap from those that were overtaken."""

    __slots__ = ("finished", "killed", "process", "scheduler", "target", "token", "woken", "worker")

    def __init__(self, scheduler: Scheduler, process: Process | None, target: Callable[[], Any]) -> None:
        self.scheduler = scheduler
        self.process = process
        self.target = target
        self.token = 0
        self.finished = self.killed = self.woken = False
        self.worker: Worker | None = None


class Worker(threading.Thread):
    """A real thread that runs one task after the other. Made once, used by many histories."""

    idle: ClassVar[list[Worker]] = []

    def __init__(self) -> None:
        super().__init__(daemon=True, name="simulated")
        self.baton = threading.Lock()
        self.baton.acquire()
        self.task: Task | None = None
        self.start()

    def run(self) -> None:
        while True:
            self.baton.acquire()
            task = self.task
            assert task is not None
            try:
                if not task.killed:
                    task.target()
            except StoppedError:
                pass
            except BaseException as error:  # noqa: BLE001 (whatever it is, the history ends with it)
                task.scheduler.fail(error)
            task.finished = True
            self.task = None
            Worker.idle.append(self)
            task.scheduler.leave()


class Scheduler:
    """Runs the tasks of one history."""

    def __init__(self, seed: int, steps_max: int = STEPS_MAX) -> None:
        self.random = random.Random(seed)
        self.now_us = 0
        self.current: Task | None = None
        self.failure: BaseException | None = None
        self.steps = 0
        self.closing = False
        self._steps_max = steps_max
        self._done = False
        self._heap: list[tuple[int, int, Any, int]] = []
        self._order = itertools.count()
        self._tasks: list[Task] = []
        self._main = threading.Lock()
        self._main.acquire()

    # -- what is to happen ---------------------------------------------------------------------------------------------

    def at(self, when_us: int, call: Callable[[], Any]) -> None:
        """Call it at this time, between the tasks. It may not wait."""
        heapq.heappush(self._heap, (max(when_us, self.now_us), next(self._order), call, 0))

    def after(self, delay_us: int, call: Callable[[], Any]) -> None:
        """Call it so much later."""
        self.at(self.now_us + delay_us, call)

    def spawn(self, process: Process | None, target: Callable[[], Any]) -> Task:
        """A new task, which begins soon."""
        task = Task(self, process, target)
        self._tasks.append(task)
        self._ready(task, self.random.randrange(200))
        return task

    def _ready(self, task: Task, delay_us: int) -> None:
        task.token += 1
        if task.process is not None and self.now_us < task.process.slow_until_us:
            delay_us += self.random.randrange(SLOW_STEP_US)
        heapq.heappush(self._heap, (self.now_us + delay_us, next(self._order), task, task.token))

    # -- what tasks do -------------------------------------------------------------------------------------------------

    def pause(self, delay_us: int) -> None:
        """Give up the turn for so long. Between the tasks this does nothing."""
        task = self.current
        if self.closing:
            raise StoppedError
        if task is None:
            return
        self._ready(task, delay_us)
        self._give_up(task)

    def wait(self, waiters: list[Task], delay_us: int | None) -> bool:
        """Give up the turn until woken or so much later; whether it was woken."""
        task = self.current
        if self.closing:
            raise StoppedError
        assert task is not None, "only a task can wait"
        task.woken = False
        task.token += 1
        waiters.append(task)
        if delay_us is not None:
            heapq.heappush(self._heap, (self.now_us + delay_us, next(self._order), task, task.token))
        self._give_up(task)
        if task in waiters:
            waiters.remove(task)
        return task.woken

    def wake(self, waiters: list[Task]) -> None:
        """Let all of these go on."""
        for task in waiters:
            task.woken = True
            self._ready(task, self.random.randrange(300))
        waiters.clear()

    def vanish(self) -> None:
        """End the process of the running task here and now; the task never goes on."""
        task = self.current
        if self.closing or task is None or task.process is None:
            raise StoppedError
        task.process.alive = False
        self._give_up(task)

    def _give_up(self, task: Task) -> None:
        chosen = self._choose()
        if chosen is task:
            self.current = task
            return
        self._hand_to(chosen)
        assert task.worker is not None
        task.worker.baton.acquire()
        if task.killed:
            raise StoppedError

    def _hand_to(self, task: Task | None) -> None:
        self.current = task
        if task is None:
            self._main.release()
            return
        if task.worker is None:
            task.worker = Worker.idle.pop() if Worker.idle else Worker()
            task.worker.task = task
        task.worker.baton.release()

    def leave(self) -> None:
        """The running task is over: whose turn is it?"""
        self._hand_to(None if self.closing else self._choose())

    def _choose(self) -> Task | None:
        """The next task; None when the history is over. Calls whatever is due between the tasks."""
        self.current = None
        while not self._done:
            if not self._heap:
                self.fail(AssertionError("nothing can go on"))
                break
            when_us, _, entry, token = heapq.heappop(self._heap)
            if not isinstance(entry, Task):
                self.now_us = max(self.now_us, when_us)
                try:
                    entry()
                except BaseException as error:  # noqa: BLE001 (an invariant that does not hold ends the history)
                    self.fail(error)
                continue
            if entry.token != token or entry.finished:
                continue
            process = entry.process
            if process is not None:
                if not process.alive:
                    continue
                if process.frozen_until_us > when_us:
                    heapq.heappush(self._heap, (process.frozen_until_us, next(self._order), entry, token))
                    continue
            self.now_us = max(self.now_us, when_us)
            if process is not None and process.steps_left > 0:
                process.steps_left -= 1
                if process.steps_left == 0:
                    process.on_last_step()
                    continue
            self.steps += 1
            if self.steps > self._steps_max:
                self.fail(AssertionError(f"not settled after {self._steps_max} steps"))
                break
            return entry
        return None

    # -- begin and end -------------------------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """End the history with this error; the first one counts."""
        if not self.closing:
            self.failure = self.failure or error
            self._done = True

    def finish(self) -> None:
        """End the history."""
        self._done = True

    def run(self) -> None:
        """Play until `finish` or `fail`, then unwind every task. Called once, by the thread that made this."""
        self._hand_to_first()
        self.closing = True
        for task in self._tasks:
            if task.worker is not None and not task.finished:
                task.killed = True
                self.current = task
                task.worker.baton.release()
                self._main.acquire()
        self.current = None

    def _hand_to_first(self) -> None:
        chosen = self._choose()
        if chosen is not None:
            self._hand_to(chosen)
            self._main.acquire()


# -- stand-ins for the modules `time` and `threading` ------------------------------------------------------------------

ACTIVE: list[Scheduler] = []  # the scheduler of the history that is being played


def active() -> Scheduler:
    return ACTIVE[-1]


def hesitate(chance: float = 0.25, most_us: int = 3_000) -> None:
    """A point at which another task may come in between."""
    scheduler = active()
    if scheduler.current is not None and not scheduler.closing and scheduler.random.random() < chance:
        scheduler.pause(scheduler.random.randrange(1, most_us))


class Time:
    """What the engine uses of `time`."""

    @staticmethod
    def sleep(seconds: float) -> None:
        active().pause(round(seconds * 1e6) + 1)

    @staticmethod
    def monotonic() -> float:
        return active().now_us / 1e6

    @staticmethod
    def time_ns() -> int:
        return active().now_us * 1_000


class Event:
    """threading.Event."""

    def __init__(self) -> None:
        self._set = False
        self._waiters: list[Task] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        active().wake(self._waiters)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            active().wait(self._waiters, None if timeout is None else round(timeout * 1e6) + 1)
        return self._set


class Condition:
    """threading.Condition. One task runs at a time and none gives up its turn inside, so the lock itself is nothing."""

    def __init__(self) -> None:
        self._waiters: list[Task] = []

    def __enter__(self) -> Self:
        hesitate(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        return

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        scheduler = active()
        until_us = None if timeout is None else scheduler.now_us + round(timeout * 1e6) + 1
        while not predicate():
            left_us = None if until_us is None else until_us - scheduler.now_us
            if left_us is not None and left_us <= 0:
                break
            scheduler.wait(self._waiters, left_us)
        return predicate()

    def notify_all(self) -> None:
        active().wake(self._waiters)


class RLock:
    """threading.RLock, around what never gives up its turn."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class Thread:
    """threading.Thread, as a task of the process that makes it."""

    def __init__(self, target: Callable[[], Any], name: str = "", daemon: bool = False) -> None:
        self._target = target
        self._task: Task | None = None
        self._ended = Event()

    def start(self) -> None:
        scheduler = active()
        process = scheduler.current.process if scheduler.current is not None else None
        self._task = scheduler.spawn(process, self._run)

    def _run(self) -> None:
        self._target()
        self._ended.set()

    def join(self, timeout: float | None = None) -> None:
        self._ended.wait(timeout)

    def is_alive(self) -> bool:
        return not self._ended.is_set()


class Threading:
    """What the engine uses of `threading`."""

    Event = Event
    Condition = Condition
    RLock = RLock
    Thread = Thread
