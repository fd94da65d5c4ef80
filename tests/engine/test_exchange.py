"""Two engines exchange what they know, and a digest tells whether two know the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import EngineSettings, Recommender
from engine.state.snapshot import state_digest
from tests.engine.builders import WITHOUT_TEXT, known, state, stream, took


def test_each_goes_on_as_the_other() -> None:
    one, other = known(EngineSettings()), known(EngineSettings())
    alone, alone_too = known(EngineSettings()), known(EngineSettings())
    events = stream()
    for engine in (one, alone):
        engine.observe_many(events[:200])
    for engine in (other, alone_too):
        engine.observe_many(events[100:250])
    one.exchange(other)
    assert state(one) == state(alone_too)
    assert state(other) == state(alone)
    for event in events[250:300]:
        assert one.observe(event).items == alone_too.observe(event).items
        assert other.observe(event).items == alone.observe(event).items
    assert state(one) == state(alone_too)


def test_a_loaded_encoder_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = known(EngineSettings()), Recommender(EngineSettings())
    encoder = one._encoder
    assert encoder is not None
    one.exchange(other)
    assert one._encoder is encoder
    assert other._encoder is None


def test_engines_that_differ_or_share_are_refused() -> None:
    one, other = Recommender(WITHOUT_TEXT), Recommender(WITHOUT_TEXT.model_copy(update={"k": 5}))
    with pytest.raises(ValueError, match="equal settings"):
        one.exchange(other)
    sharing = Recommender(WITHOUT_TEXT)
    sharing.share()
    for pair in ((one, sharing), (sharing, one)):
        with pytest.raises(ValueError, match="share no items"):
            pair[0].exchange(pair[1])


def test_the_digest_is_that_of_what_is_saved(tmp_path: Path) -> None:
    one, other = known(EngineSettings()), known(EngineSettings())
    for event in stream():
        one.observe(event)
    other.observe_many(stream())
    assert state_digest(one) == state_digest(other)
    one.save(tmp_path / "saved")
    loaded = Recommender.load(tmp_path / "saved")
    assert state_digest(loaded) == state_digest(one)
    found = {state_digest(one)}
    for event in (took("user-1", "film-1", 1), took("user-1", "film-1", 2)):
        loaded.observe(event)
        assert state_digest(loaded) not in found
        found.add(state_digest(loaded))
