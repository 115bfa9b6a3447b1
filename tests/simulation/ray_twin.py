"""What the engine uses of Ray, on the scheduler: named actors in processes that die, freeze and are replaced.

As in Ray: calls of one caller to one actor arrive in order; a call to an actor whose process dies fails with
RayActorError, whether or not it was carried out; an actor with restarts left is made anew by its constructor, under the
same name; `kill` cannot reach a process that is cut off, which then goes on beside its successor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ray import exceptions

from actors import remote
from tests.simulation.scheduler import Process, Scheduler, Task

# Methods that may wait run as tasks of their own; `push` runs one at a time, in order; the rest answers at once.
_WAITING = {"drain", "stop", "pause", "resume", "ready"}


class Ref:
    """An answer that is to come."""

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.waiters: list[Task] = []


class Actor:
    """A named actor and its present process."""

    def __init__(self, cluster: Cluster, name: str, kind: str, build: Callable[[], Any]) -> None:
        self.cluster = cluster
        self.name = name
        self.kind = kind
        self.build = build
        self.gone = False
        self.process = Process(name)
        self.instance: Any = None
        self.outstanding: list[Ref] = []
        self.backlog: list[Callable[[], None]] = []
        self.pushes: list[tuple[Process, Ref, tuple[Any, ...]]] = []
        self.push_waiters: list[Task] = []
        self.pushing = False
        self.last_delivery_us: dict[Process | None, int] = {}

    def begin(self) -> None:
        """Start a process that runs the constructor."""
        cluster = self.cluster
        self.process = process = Process(self.name, cluster.skew_ms())
        self.instance = None
        self.pushes, self.push_waiters = [], []
        self.last_delivery_us = {}
        cluster.processes.append(process)

        def main() -> None:
            instance = self.build()
            if self.process is not process:
                return  # replaced in the meantime; what it made goes on as a zombie
            self.instance = instance
            backlog, self.backlog = self.backlog, []
            for call in backlog:
                call()
            self._push_forever(process)

        cluster.scheduler.spawn(process, main)

    def _push_forever(self, process: Process) -> None:
        pushes, waiters, instance = self.pushes, self.push_waiters, self.instance
        while True:
            while pushes:
                _, ref, args = pushes.pop(0)
                self._answer(process, ref, lambda: instance.push(*args))  # noqa: B023 (called at once)
                self.cluster.scheduler.pause(self.cluster.scheduler.random.randrange(300))
            self.cluster.scheduler.wait(waiters, None)

    def lose(self, process: Process, *, restart: bool, cut_off: bool = False) -> None:
        """The process ends, or is only cut off; every answer that it owes is lost."""
        if not cut_off:
            process.alive = False
        if self.process is not process:
            return
        scheduler = self.cluster.scheduler
        refs, self.outstanding = self.outstanding, []
        for ref in refs:
            scheduler.after(
                scheduler.random.randrange(1_000, 50_000), lambda ref=ref: self.cluster.fail(ref, _actor_error())
            )
        self.instance = None
        self.process = Process(self.name)
        if restart and not self.gone:
            scheduler.after(scheduler.random.randrange(20_000, 300_000), self._restart)

    def _restart(self) -> None:
        if not self.gone and self.instance is None:
            self.begin()

    def call(self, method: str, args: tuple[Any, ...]) -> Ref:
        """Send a call; the answer comes to the reference."""
        cluster, scheduler, ref = self.cluster, self.cluster.scheduler, Ref()
        if self.gone:
            cluster.fail(ref, _actor_error())
            return ref
        if cluster.calls_to_lose:
            cluster.calls_to_lose -= 1
            scheduler.after(cluster.network_us(), lambda: cluster.fail(ref, _unavailable("the call was lost")))
            return ref
        self.outstanding.append(ref)
        caller = scheduler.current.process if scheduler.current else None
        copies = 1
        if method == "push" and cluster.repeats:
            cluster.repeats -= 1
            copies = 2
        for copy in range(copies):
            arrives_us = scheduler.now_us + cluster.network_us()
            if not copy:
                arrives_us = max(arrives_us, self.last_delivery_us.get(caller, 0) + 1)
                self.last_delivery_us[caller] = arrives_us
            else:
                arrives_us += scheduler.random.randrange(300_000)
            answer = Ref() if copy else ref  # a copy's answer reaches nobody
            scheduler.at(arrives_us, functools.partial(self._deliver, answer, method, args))
        return ref

    def _deliver(self, ref: Ref, method: str, args: tuple[Any, ...]) -> None:
        scheduler = self.cluster.scheduler
        if ref.done:
            return
        if self.gone:
            self.cluster.fail(ref, _actor_error())
            return
        if self.instance is None:
            self.backlog.append(lambda: self._deliver(ref, method, args))
            return
        process, instance = self.process, self.instance
        if process.frozen_until_us > scheduler.now_us:
            scheduler.at(process.frozen_until_us, lambda: self._deliver(ref, method, args))
            return
        if method == "push":
            self.pushes.append((process, ref, args))
            scheduler.wake(self.push_waiters)
        elif method in _WAITING:
            scheduler.spawn(process, lambda: self._answer(process, ref, lambda: getattr(instance, method)(*args)))
        else:
            self._answer(process, ref, lambda: getattr(instance, method)(*args))

    def _answer(self, process: Process, ref: Ref, work: Callable[[], Any]) -> None:
        cluster, scheduler = self.cluster, self.cluster.scheduler
        try:
            value, error = work(), None
        except Exception as failed:  # noqa: BLE001 (it crosses to the caller as Ray does it)
            cluster.note(failed)
            value, error = None, exceptions.RayTaskError("call", str(failed), failed)
        if process is not self.process:
            return  # what a zombie says reaches nobody
        if cluster.answers_to_lose:
            cluster.answers_to_lose -= 1
            error = _unavailable("the answer was lost")

        def arrive() -> None:
            if process is not self.process:
                return
            if error is not None:
                cluster.fail(ref, error)
            else:
                cluster.fulfil(ref, value)
            if ref in self.outstanding:
                self.outstanding.remove(ref)

        scheduler.after(cluster.network_us(), arrive)


def _actor_error() -> BaseException:
    return exceptions.RayActorError()


def _unavailable(why: str) -> BaseException:
    return exceptions.ActorUnavailableError(why, None)


class Method:
    def __init__(self, actor: Actor, name: str) -> None:
        self._actor = actor
        self._name = name

    def remote(self, *args: Any) -> Ref:
        return self._actor.call(self._name, args)


class Handle:
    """An actor's handle."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Method:
        return Method(self._actor, name)


class Cluster:
    """The module `ray`, as far as the engine uses it, and what the simulation does to it."""

    exceptions = exceptions

    def __init__(self, scheduler: Scheduler, skew_ms_max: int) -> None:
        self.scheduler = scheduler
        self.actors: dict[str, Actor] = {}
        self.processes: list[Process] = []
        self.repeats = 0
        self.calls_to_lose = 0
        self.answers_to_lose = 0
        self.slow_until_us = 0
        self.notes: list[BaseException] = []
        self._skew_ms_max = skew_ms_max

    def note(self, error: BaseException) -> None:
        """An exception that crossed between processes; the checks look at them."""
        self.notes.append(error)

    def skew_ms(self) -> int:
        return self.scheduler.random.randint(-self._skew_ms_max, self._skew_ms_max)

    def network_us(self) -> int:
        slow = 40 if self.scheduler.now_us < self.slow_until_us else 1
        return slow * self.scheduler.random.randrange(50, 3_000)

    def fulfil(self, ref: Ref, value: Any) -> None:
        if not ref.done:
            ref.done, ref.value = True, value
            self.scheduler.wake(ref.waiters)

    def fail(self, ref: Ref, error: BaseException) -> None:
        if not ref.done:
            ref.done, ref.error = True, error
            self.scheduler.wake(ref.waiters)

    # -- the module ray ------------------------------------------------------------------------------------------------

    def wait(self, refs: Sequence[Ref], num_returns: int = 1, timeout: float | None = None) -> tuple[list[Ref], Any]:
        scheduler = self.scheduler
        until_us = None if timeout is None else scheduler.now_us + round(timeout * 1e6)
        while sum(ref.done for ref in refs) < num_returns:
            left_us = None if until_us is None else until_us - scheduler.now_us
            if left_us is not None and left_us <= 0:
                break
            task = scheduler.current
            waiters: list[Task] = []
            for ref in refs:
                if not ref.done:
                    ref.waiters.append(task)  # type: ignore[arg-type]
            scheduler.wait(waiters, left_us)
            for ref in refs:
                if task in ref.waiters:
                    ref.waiters.remove(task)
        ready = [ref for ref in refs if ref.done]
        return ready, [ref for ref in refs if not ref.done]

    def get(self, refs: Any, timeout: float | None = None) -> Any:
        many = refs if isinstance(refs, list) else [refs]
        self.wait(many, len(many), timeout)
        for ref in many:
            if not ref.done:
                raise exceptions.GetTimeoutError("no answer in time")
            if ref.error is not None:
                raise ref.error
        values = [ref.value for ref in many]
        return values if isinstance(refs, list) else values[0]

    def get_actor(self, name: str, namespace: str = "") -> Handle:
        actor = self.actors.get(name)
        if actor is None or actor.gone:
            raise ValueError(f"no actor {name}")
        return Handle(actor)

    def kill(self, handle: Handle, *, no_restart: bool) -> None:
        actor = handle._actor
        process = actor.process
        actor.gone = actor.gone or no_restart
        # A process that is frozen is on a host that does not answer: the order does not get there.
        cut_off = process.frozen_until_us > self.scheduler.now_us
        actor.lose(process, restart=not no_restart, cut_off=cut_off)
        if no_restart:
            for ref in actor.outstanding:
                self.fail(ref, _actor_error())
            if self.actors.get(actor.name) is actor:
                del self.actors[actor.name]

    def get_runtime_context(self) -> Cluster:
        return self

    def get_node_id(self) -> str:
        return "simulated"

    def make(self, name: str, kind: str, build: Callable[[], Any]) -> Handle:
        """An actor of this name, found or made."""
        actor = self.actors.get(name)
        if actor is None:
            actor = self.actors[name] = Actor(self, name, kind, build)
            actor.begin()
        return Handle(actor)

    def exit_process(self, _: int) -> None:
        """os._exit of the running process; Ray starts a successor if it was an actor's."""
        task = self.scheduler.current
        if task is not None and task.process is not None:
            for actor in list(self.actors.values()):
                if actor.process is task.process:
                    actor.lose(task.process, restart=True)
        self.scheduler.vanish()


class Named:
    """actors.remote.named: an actor class with a name."""

    def __init__(self, cluster: Callable[[], Cluster], plain: type, name: str, kind: str) -> None:
        self._cluster = cluster
        self._plain = plain
        self._name = name
        self._kind = kind

    def remote(self, *args: Any) -> Handle:
        return self._cluster().make(self._name, self._kind, lambda: self._plain(*args))


def plain_class(actor_class: Any) -> type:
    """The class that `ray.remote` was applied to."""
    return next(
        one
        for one in actor_class.__ray_metadata__.modified_class.__mro__
        if one.__module__ == remote.__name__ and one.__name__ != "Class"
    )
