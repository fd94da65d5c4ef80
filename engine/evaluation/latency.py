"""Latencies of several contenders, in turns: what disturbs the machine disturbs all alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter_ns, process_time_ns
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Request = TypeVar("Request")


class Latency(NamedTuple):
    """Milliseconds of a contender's requests: mean, deviation, p50, p99, and how many they were.

    `cpu` is the mean CPU time of the whole process, in milliseconds, too: above `mean`, more than
    one thread worked; far below it, others had the processor.
    """

    mean: float
    sd: float
    p50: float
    p99: float
    requests: int
    cpu: float


def in_turns(
    contenders: Mapping[str, Callable[[Request], object]],
    requests: Sequence[Request],
    warm_up: int,
    seed: int = 0,
) -> Iterator[tuple[str, int, int]]:
    """Ask every contender each request, in a new random order each time.

    Yields (contender, wall ns, CPU ns) of every answer after the first `warm_up` requests. The
    garbage collector is off meanwhile: it would charge one contender for the garbage of all.
    """
    rng = np.random.default_rng(seed)
    names = list(contenders)
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number, request in enumerate(requests):
            for place in rng.permutation(len(names)):
                ask = contenders[names[place]]
                cpu, start = process_time_ns(), perf_counter_ns()
                ask(request)
                wall, cpu = perf_counter_ns() - start, process_time_ns() - cpu
                if number >= warm_up:
                    yield names[place], wall, cpu
    finally:
        if collects:
            gc.enable()


def measure(
    contenders: Mapping[str, Callable[[Request], object]],
    requests: Sequence[Request],
    warm_up: int,
    seed: int = 0,
) -> dict[str, Latency]:
    """The latency of each contender over `requests`, of which the first `warm_up` do not count.

    Raises
    ------
    ValueError
        If no request is left to be counted.
    """
    if len(requests) <= warm_up:
        raise ValueError(f"{len(requests)} requests, of which {warm_up} are for warming up")
    samples: dict[str, list[tuple[int, int]]] = {name: [] for name in contenders}
    for name, wall, cpu in in_turns(contenders, requests, warm_up, seed):
        samples[name].append((wall, cpu))
    return {name: summary(np.array(sample, np.float64)) for name, sample in samples.items()}


def summary(sample: NDArray[np.float64]) -> Latency:
    """Of wall and CPU nanoseconds, float64[n, 2]."""
    milliseconds = sample[:, 0] / 1e6
    return Latency(
        mean=float(milliseconds.mean()),
        sd=float(milliseconds.std(ddof=1)) if len(sample) > 1 else 0.0,
        p50=float(np.median(milliseconds)),
        p99=float(np.percentile(milliseconds, 99)),
        requests=len(sample),
        cpu=float(sample[:, 1].mean() / 1e6),
    )
