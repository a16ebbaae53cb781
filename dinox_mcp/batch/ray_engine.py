"""Works on the shards of a run on a Ray cluster (extra `ray`): one actor for each worker, each with its own detector.

These are plain actors and not Ray Data: a shard writes its own part, so there is nothing to hand on, and the manifest
and the journals decide what is finished. If a worker dies, another one continues its shard, as `run_shard` does after
any death. The folder of the run and the images must be on a file system that all machines mount.
"""

import socket
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, floor
from typing import Any

import anyio
import anyio.to_thread

from dinox_mcp import __version__
from dinox_mcp.batch.cluster import import_ray, join
from dinox_mcp.batch.manifest import MANIFEST, Shard
from dinox_mcp.batch.parts import Done, read_done
from dinox_mcp.batch.report import Tracker
from dinox_mcp.batch.requests import Detecting, answered_by
from dinox_mcp.batch.shards import Batch, journal_path, run_shard
from dinox_mcp.errors import BackendError, DinoxError, InputError, SettingsError
from dinox_mcp.settings import Settings
from dinox_mcp.types.text import clean_line

MAX_DEATHS = 3
"""Deaths of workers after one another on a shard without a new line in its journal until the run stops."""
_POLL_S = 0.5
_MOST_REASON = 300
_END_S = 10.0
"""Seconds that workers get to end in order."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker must know; it can be pickled, and holds no secret.

    Attributes:
        make: makes a detector of settings.
        settings: the options that are set, as `Settings.without_secrets` gives them.
        batch: the run.
        answering: the version, and the backends and models that must answer, so that all workers find the same.
    """

    make: Callable[[Settings], Detecting]
    settings: Mapping[str, Any]
    batch: Batch
    answering: Any


class Worker:
    """Works on shards in a process of its own, one after another; Ray makes it an actor."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._detector: Detecting | None = None
        self._share = 0.0

    async def work(self, shard: Shard) -> Done:
        """Finish a shard; raises a DinoxError if the run has to stop."""

        async def report(share: float, _: str) -> None:
            self._share = share

        self._share = 0.0
        if self._detector is None:
            # Here and not in the constructor, where Ray would wrap the error in a death.
            self._detector = await anyio.to_thread.run_sync(_open, self._orders)
        return await run_shard(self._detector, self._orders.batch, shard, report)

    async def share(self) -> float:
        """Return which share of the shard in hand is done."""
        return self._share

    async def close(self) -> None:
        """Close the detector; processes of its models end with it."""
        if self._detector is not None:
            await self._detector.aclose()


def _open(orders: Orders) -> Detecting:
    """Make a detector, and check that it answers as that of the driver does. Blocks."""
    run, here = orders.batch.run, socket.gethostname()
    if not (run / MANIFEST).is_file():
        raise SettingsError(
            f"the worker on {here} does not have the run's folder {run}; choose --out on a file system that all "
            "machines of the cluster mount"
        )
    # Without a key, whatever the environment of this machine has: no call of a worker is ever paid.
    settings = Settings.load(**orders.settings).model_copy(update={"api_key": None})
    detector = orders.make(settings)
    if (own := _answering(detector, orders.batch)) != orders.answering:
        raise SettingsError(
            f"the worker on {here} would answer with {own} instead of {orders.answering}; install the same version, "
            "extras and models on all machines"
        )
    return detector


def _answering(detector: Detecting, batch: Batch) -> list[Any]:
    """Name the version, and the backends, models and thresholds that answer the request of a run."""
    return [__version__, *answered_by(detector.backends, detector.pipeline.router.plan(batch.request))]


async def run_ray(
    detector: Detecting,
    batch: Batch,
    shards: Sequence[Shard],
    tracker: Tracker,
    *,
    workers: int | None = None,
    gpus_per_worker: float = 0,
) -> None:
    """Work on shards by actors of a cluster, which is started on this machine if there is none.

    Args:
        detector: that of the driver; workers make their own of its class and settings.
        batch: the run.
        shards: which are left.
        tracker: hears how it goes.
        workers: how many actors; by default one for each machine, or as many as the GPUs allow.
        gpus_per_worker: GPUs of each; a part of one (0.5) is shared by two.

    Raises:
        InputError: the backend costs something, or the cluster does not have so many GPUs.
        DinoxError: the run has to stop.
    """
    if batch.paid:
        raise InputError(
            "the engine ray is for models of your own: the rate of calls to a paid backend is kept by one process; "
            "use the engine local, which waits for several calls at once"
        )
    ray = import_ray()
    own = not ray.is_initialized()
    await anyio.to_thread.run_sync(partial(join, log_to_driver=False))
    try:
        orders = Orders(type(detector), detector.settings.without_secrets(), batch, _answering(detector, batch))
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        plan = _Resources.of(nodes, min(workers, len(shards)) if workers else None, gpus_per_worker, len(shards))
        pool = _Pool(ray, orders, plan)
        try:
            await pool.work(shards, tracker)
        finally:
            pool.close()
    finally:
        if own:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(ray.shutdown)


@dataclass(frozen=True, slots=True)
class _Resources:
    """How many workers there are, and what each takes of its machine."""

    workers: int
    cpus: float
    gpus: float

    @classmethod
    def of(cls, nodes: Sequence[Mapping[str, float]], workers: int | None, gpus: float, shards: int) -> "_Resources":
        """Share the machines of a cluster, given as their resources, among workers; refuse too many GPUs."""
        fit = sum(floor(node.get("GPU", 0) / gpus) for node in nodes) if gpus else len(nodes)
        number = workers or min(max(1, fit), shards)
        if gpus and fit < number:
            has = sum(node.get("GPU", 0) for node in nodes)
            raise InputError(
                f"{number} workers with {gpus:g} GPUs each do not fit on the cluster, which has {has:g} GPUs on "
                f"{len(nodes)} machines; pass fewer --workers or --gpus-per-worker"
            )
        # All CPUs are shared out, since Ray also limits the threads of an actor's libraries to its CPUs.
        cpus = min(node.get("CPU", 1) for node in nodes) / ceil(number / len(nodes))
        return cls(number, floor(cpus) if cpus >= 1 else cpus, gpus)


@dataclass(slots=True)
class _Hand:
    """An actor, and the shard that it has in hand as the task `work`."""

    actor: Any
    shard: Shard
    work: Any
    journal_bytes: int


class _Pool:
    """Actors, each with one shard in hand."""

    def __init__(self, ray: Any, orders: Orders, resources: _Resources) -> None:  # noqa: ANN401 - Ray's module
        self._ray, self._orders, self._workers = ray, orders, resources.workers
        self._actor = ray.remote(Worker).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_restarts=0,  # a new actor continues the shard: Ray itself would try for ever
            scheduling_strategy="SPREAD",
        )
        self._hands: list[_Hand] = []
        self._idle: list[Any] = []
        self._barren: Counter[int] = Counter()

    async def work(self, shards: Sequence[Shard], tracker: Tracker) -> None:
        """Finish shards; once the tracker says so, no further shard is begun."""
        left = deque(shards)
        while True:
            while left and len(self._hands) < self._workers and not tracker.stopping():
                self._begin(left.popleft())
            if not self._hands:
                return
            ready = await anyio.to_thread.run_sync(self._wait)
            for hand in [one for one in self._hands if one.work in ready]:
                self._hands.remove(hand)
                done = await anyio.to_thread.run_sync(self._result, hand)
                if done is None:
                    left.appendleft(hand.shard)
                else:
                    await tracker.finished(done)
            for shard, share in await anyio.to_thread.run_sync(self._shares):
                await tracker.working(shard, share)

    def close(self) -> None:
        """End all actors; those with a shard in hand first get the time to note what they have done. Blocks shortly."""
        actors = [*self._idle, *(hand.actor for hand in self._hands)]
        for hand in self._hands:
            self._ray.cancel(hand.work)
        self._wait_for([hand.work for hand in self._hands], _END_S)
        self._wait_for([actor.close.remote() for actor in actors], _END_S)
        for actor in actors:
            self._ray.kill(actor)

    def _wait_for(self, tasks: Sequence[Any], seconds: float) -> list[Any]:
        """Wait for tasks, and return those that have ended."""
        ready: list[Any] = []
        if tasks:
            ready, _ = self._ray.wait(list(tasks), num_returns=len(tasks), timeout=seconds)
        return ready

    def _begin(self, shard: Shard) -> None:
        actor = self._idle.pop() if self._idle else self._actor.remote(self._orders)
        self._hands.append(_Hand(actor, shard, actor.work.remote(shard), self._journal_bytes(shard)))

    def _wait(self) -> set[Any]:
        ready, _ = self._ray.wait([hand.work for hand in self._hands], timeout=_POLL_S)
        return set(ready)

    def _result(self, hand: _Hand) -> Done | None:
        """Get the result of a task; None if its worker died before the end, so that another one must continue."""
        from ray.exceptions import RayActorError, RayTaskError

        try:
            done: Done = self._ray.get(hand.work)
        except RayActorError as error:
            self._ray.kill(hand.actor)  # it may be out of reach only: two must not write one journal
            if finished := self._finished(hand.shard):
                return finished
            self._count_death(hand, str(error))
            return None
        except RayTaskError as error:
            self._idle.append(hand.actor)
            cause = error.cause
            raise cause if isinstance(cause, DinoxError) else BackendError(f"a worker failed: {cause!r}") from error
        self._idle.append(hand.actor)
        return done

    def _finished(self, shard: Shard) -> Done | None:
        """Return what the part of a shard says, if its worker died after it was written."""
        batch = self._orders.batch
        done = read_done(batch.run, shard.number, batch.fingerprint)
        if done is None or batch.retry:  # an old part, in another try
            return None
        journal_path(batch.run, shard.number).unlink(missing_ok=True)
        return done

    def _count_death(self, hand: _Hand, reason: str) -> None:
        """Count the deaths on a shard that has made no progress, and refuse too many."""
        moved = self._journal_bytes(hand.shard) != hand.journal_bytes
        self._barren[hand.shard.number] = 0 if moved else self._barren[hand.shard.number] + 1
        if self._barren[hand.shard.number] >= MAX_DEATHS:
            last = clean_line(reason.strip().rpartition("\n")[2])[:_MOST_REASON]
            raise BackendError(
                f"{MAX_DEATHS} workers died before their first image ({last}); check that dinox-mcp is installed "
                "there and that the model fits into the memory, then run the same command again"
            )

    def _journal_bytes(self, shard: Shard) -> int:
        try:
            return journal_path(self._orders.batch.run, shard.number).stat().st_size
        except OSError:
            return 0

    def _shares(self) -> list[tuple[Shard, float]]:
        """Get the share of each shard that is done; workers that do not answer at once are left out."""
        requests = {hand.actor.share.remote(): hand.shard for hand in self._hands}
        found = []
        for one in self._wait_for(list(requests), _POLL_S):
            try:
                found.append((requests[one], self._ray.get(one)))
            except self._ray.exceptions.RayError:
                continue  # it has died, which its task says too
        return found
