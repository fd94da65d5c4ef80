"""A worker that has its state goes on answering questions while partitions come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from streams.settings import Settings, WebSettings
from streams.settings_io import as_environment
from tests.ports import free_port
from tests.streams.asking import ask
from tests.streams.conftest import Path, interaction
from tests.streams.waiting import until

PARTITIONS = 4


def worker(settings: Settings, port: int) -> subprocess.Popen[bytes]:
    served = settings.model_copy(update={"web": WebSettings(port=port)})
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "worker"], env=os.environ | as_environment(served)
    )


def is_ready(port: int) -> bool:
    try:
        return ask(port, "/health/ready").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_questions_are_answered_while_another_worker_joins_and_leaves(
    settings: Callable[..., Settings],
) -> None:
    path = Path(settings(topics={"partitions": PARTITIONS}))
    path.send(*(interaction(n, user=f"u{n % 8}", item=f"m{n % 20}") for n in range(40)))
    path.flush()
    first, second = free_port(), free_port()
    staying = worker(path.settings, first)
    statuses: list[int] = []

    def asked(condition: Callable[[], bool]) -> Callable[[], bool]:
        """The condition, after some more questions to the worker that stays."""

        def after_questions() -> bool:
            statuses.extend(ask(first, "/users/u1/recommendations").status for _ in range(5))
            return condition()

        return after_questions

    def answered(count: int) -> Callable[[], bool]:
        return lambda: path.counts()[path.names.recommendations] == count

    try:
        until(lambda: is_ready(first), 60, "the first worker is ready")
        path.answers(40)
        joining = worker(path.settings, second)
        try:
            until(asked(lambda: is_ready(second)), 60, "the second worker is ready")
            path.send(*(interaction(100 + n, user=f"u{n % 8}") for n in range(8)))
            path.flush()
            until(asked(answered(48)), 60, "both have answered")
        finally:
            joining.terminate()
        until(asked(lambda: joining.poll() is not None), 60, "the second worker has left")
        path.send(*(interaction(200 + n, user=f"u{n % 8}") for n in range(8)))
        path.flush()
        until(asked(answered(56)), 60, "the first worker has answered for all")
    finally:
        staying.terminate()
        staying.wait(60)
    assert len(statuses) > 50
    assert set(statuses) == {200}
