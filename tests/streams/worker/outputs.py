"""Outputs of partition 0 and what became of them: for the tests of both ways of delivery."""

from __future__ import annotations

import threading

from streams.worker.delivery import Output
from tests.streams.conftest import Path

RUNNING = threading.Event()
"""Never set: the worker goes on."""


def answer(path: Path, offset: int) -> Output:
    source = f'{{"topic": "{path.names.interactions}", "partition": 0, "offset": {offset}}}'
    value = f'{{"by": {offset}, "source": {source}}}'.encode()
    return Output(offset, path.names.recommendations, value, b"ann", [])


def offsets(path: Path) -> list[int]:
    count = path.counts()[path.names.recommendations]
    messages = path.read(path.names.recommendations, count)
    return [int((m.value() or b"").split(b'"by": ')[1].split(b",")[0]) for m in messages]
