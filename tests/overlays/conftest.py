"""The Verilated cores that the tests share."""

from collections.abc import Iterator

import pytest
from problems import Bench

_TWO_PORTS = pytest.param((32, 2), marks=pytest.mark.long)  # half a minute to build
_named = "D{0[0]}-ports{0[1]}".format


def _bench(dimensions: int, ports: int) -> Iterator[Bench]:
    bench = Bench(dimensions, ports)
    yield bench
    bench.model.close()


@pytest.fixture(
    params=[(64, 1), _TWO_PORTS, pytest.param((128, 1), marks=pytest.mark.long)], ids=_named
)
def bench(verilator: None, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Each core that the tests build."""
    yield from _bench(*request.param)


@pytest.fixture
def bench64(verilator: None) -> Iterator[Bench]:
    """The usual core."""
    yield from _bench(64, 1)


@pytest.fixture(params=[(64, 1), _TWO_PORTS], ids=_named)
def either(verilator: None, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A core with one port, and one with two."""
    yield from _bench(*request.param)
