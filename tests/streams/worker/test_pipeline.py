"""What the pipeline makes of records, without a broker."""

from __future__ import annotations

import logging

import pytest

from engine.recommender import Recommender
from engine.settings import EngineSettings
from streams.kafka.record import Record
from streams.messages.schemas import Model, encode
from streams.settings import Settings
from streams.worker.partition import Partition
from streams.worker.pipeline import Pipeline
from streams.worker.transactional import TransactionalWriter
from tests.streams.conftest import FIRST_MS, interaction


def test_a_key_that_is_not_the_user_s_id_is_counted_and_the_first_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings(engine={"model": "gnn"})
    pipeline = Pipeline(
        Recommender(EngineSettings(model="gnn")), settings, Model("millrace-gnn", "0")
    )
    partition = Partition(
        number=3, window=1000, writer=TransactionalWriter(settings, 3, "", 0), ours=True
    )
    keys = [b"ann", b"session-17", None, b"ann"]
    records = [
        Record(3, offset, FIRST_MS, key, encode(interaction(offset, user="ann")), ())
        for offset, key in enumerate(keys)
    ]
    with caplog.at_level(logging.WARNING, "millrace.worker"):
        pipeline.handle(partition, records)
    assert pipeline.counts.foreign_keys == 2
    assert pipeline.counts.recommendations == 4
    [line] = caplog.messages
    assert line.startswith(
        "millrace.interactions[3] at 1: its key is not its user's id, so events of one user may"
    )
