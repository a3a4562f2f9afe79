"""What events cost: to publish them, to hear them, and what a creation pays for either."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from uuid import UUID

import volary
from benchmarks.creating import Way, alternate, in_flight, print_rates
from benchmarks.figures import print_table, print_wanted, us
from benchmarks.runner import Bench, Figures
from volary.api.subscription import subscribe
from volary.engine.actors.events import Events

_IN_FLIGHT = 16
_LISTENERS = 10
_NAP = 0.01
_WANTED_PART = 0.95
"""Of the rate with a quick callback, with one that sleeps; the rest is noise."""

_SPEC = volary.PoolSpec("pool", target="/pool", uuid=UUID(int=1))


def run(bench: Bench) -> Figures:
    """Publish, listen, and create with and without listeners."""
    count = 20_000 if bench.quick else 200_000
    figures = _publishing(count)
    figures |= _listening(count)
    return figures | _creating(bench)


def _publish(events: Events, count: int) -> float:
    """Return the seconds that so many events took whoever published them."""
    began = time.perf_counter()
    for _ in range(count):
        events.of_volume(volary.VolumeEventKind.CREATED, _SPEC, "volume")
    return time.perf_counter() - began


def _publishing(count: int) -> Figures:
    taken = {}
    for listeners in (0, 1, _LISTENERS):
        events = Events()
        # Nobody takes them: what waits is full, and each event costs another one.
        kept = [subscribe(events, None, None, 1024) for _ in range(listeners)]
        taken[listeners] = _publish(events, count) / count
        for subscription in kept:
            subscription.close()
    print_table(
        f"Publishing an event, mean of {count:,}",
        ("listeners, none of whom takes any", "us"),
        [(str(listeners), us(seconds)) for listeners, seconds in taken.items()],
    )
    return {f"publish_to_{listeners}_s": seconds for listeners, seconds in taken.items()}


def _listening(count: int) -> Figures:
    rates = {
        name: count / way(count)
        for name, way in (
            ("callback", _called),
            ("for", _iterated),
            ("async for", _iterated_in_loop),
        )
    }
    print_table(
        "Events a second, published on one thread and heard on another, none lost",
        ("", "a second"),
        [(name, f"{rate:,.0f}") for name, rate in rates.items()],
    )
    return {f"{name.replace(' ', '_')}_per_s": rate for name, rate in rates.items()}


def _called(count: int) -> float:
    events, heard, left = Events(), threading.Event(), iter(range(count - 1))

    def callback(_: volary.Event) -> None:
        if next(left, None) is None:
            heard.set()

    subscription = subscribe(events, callback, None, count)
    began = time.perf_counter()
    _publish(events, count)
    heard.wait()
    taken = time.perf_counter() - began
    events.close(wait=True)
    assert subscription.lost == 0
    return taken


def _iterated(count: int) -> float:
    events = Events()
    subscription = subscribe(events, None, None, count)
    return _heard_by(events, lambda: sum(1 for _ in subscription), count)


def _iterated_in_loop(count: int) -> float:
    events = Events()
    subscription = subscribe(events, None, None, count)

    async def main() -> int:
        heard = 0
        async for _ in subscription:
            heard += 1
        return heard

    return _heard_by(events, lambda: asyncio.run(main()), count)


def _heard_by(events: Events, listen: Callable[[], int], count: int) -> float:
    heard: list[int] = []
    thread = threading.Thread(target=lambda: heard.append(listen()))
    thread.start()
    began = time.perf_counter()
    _publish(events, count)
    events.close(wait=False)
    thread.join()
    assert heard == [count]
    return time.perf_counter() - began


def _creating(bench: Bench) -> Figures:
    count, rounds = (300, 2) if bench.quick else (2000, 5)
    with bench.connection() as connection:

        def way(listeners: int, callback: Callable[[volary.Event], object]) -> Way:
            def create(name: str, count: int) -> float:
                with ExitStack() as listening:
                    for _ in range(listeners):
                        listening.enter_context(connection.subscribe(callback))
                    pool = bench.pool(connection, name)
                    return in_flight(pool, count, "raw", width=_IN_FLIGHT)

            return Way(count, create)

        def hear(_: volary.Event) -> None:
            """Do nothing with it."""

        rates = alternate(
            bench,
            {
                "nobody listens": way(0, hear),
                "one callback": way(1, hear),
                "one callback that sleeps": way(1, lambda _: time.sleep(_NAP)),
                f"{_LISTENERS} callbacks": way(_LISTENERS, hear),
            },
            rounds,
        )
    figures = print_rates(f"Sparse raw creation, durable, {_IN_FLIGHT} in flight", rates)
    part = rates["one callback that sleeps"].median / rates["one callback"].median
    print_wanted(
        f"a callback that sleeps {_NAP * 1e3:.0f} ms costs a pool no more than a quick one",
        f"{part:.0%} of the rate with that",
        met=part >= _WANTED_PART,
    )
    return figures
