"""Hostile records through a real broker, in small: the worker lives, and answers for each."""

from __future__ import annotations

import random

from benchmarks import fuzz_broker
from benchmarks.end_to_end import Bench
from streams.brokers import KafkaServer
from streams.settings import WebSettings
from tests.ports import free_port


def test_none_of_these_records_ends_a_worker(kafka: KafkaServer) -> None:
    bench = Bench(kafka.bootstrap, "fuzz", partitions=2)
    bench.settings = bench.settings.model_copy(update={"web": WebSettings(port=free_port())})
    found = fuzz_broker.run(bench, 3_000, seed=1)
    assert found["exits"] == 0
    assert found["balanced"]
    assert min(found["recommendations"], found["dead_letters"], found["duplicates"]) > 50


def test_every_part_of_a_record_is_drawn() -> None:
    draw = random.Random(2)
    keys, values, headers = zip(*(fuzz_broker.record(draw, n) for n in range(3_000)), strict=True)
    for drawn in (keys, values):
        assert None in drawn
        assert b"" in drawn
    assert max(map(len, headers)) == 500
    assert any(value is None for some in headers for _, value in some)
    raw = fuzz_broker.RawName(b"a\xff")
    assert raw.encode("utf-8") == b"a\xff"
