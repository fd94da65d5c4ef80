"""A shop's own JSON, read by the names of `[events]` and `[kinds]`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import EngineSettings, Recommender
from engine.events import Interaction
from streams.messages.bad_message import BadMessage
from streams.messages.decoding import decode_interaction
from streams.messages.dialect import Dialect
from streams.settings import SettingsError
from streams.settings_io import as_environment, as_toml, load_settings

CONFIG = """
[events]
user = "userId"
item = "product.id"
kind = "action"
timestamp = "ts"

[kinds]
bookmark = 0.9
view = 0.2
remove_from_cart = "dislike"
ping = "ignore"
"""
CLICK = {"userId": 4711, "product": {"id": "m42"}, "action": "bookmark", "ts": 1_600_000_000}
AT = 1_600_000_000_000


@pytest.fixture
def dialect(tmp_path: Path) -> Dialect:
    file = tmp_path / "millrace.toml"
    file.write_text(CONFIG)
    return Dialect.of(load_settings(file))


def read(dialect: Dialect, received_ms: int | None = None, **changes: Any) -> Interaction:
    message = {k: v for k, v in {**CLICK, **changes}.items() if v is not None}
    return decode_interaction(json.dumps(message).encode(), (), received_ms, dialect)


def test_a_shop_s_event_is_read_by_its_names(dialect: Dialect) -> None:
    event = read(dialect)
    assert (event.user, event.item, event.timestamp, event.kind) == ("4711", "m42", AT, "bookmark")
    assert event.event_id == read(dialect).event_id
    assert event.event_id != read(dialect, ts=1_600_000_001).event_id
    assert read(dialect, event_id="e1").event_id == "e1"
    # The same in every process: a worker that starts anew knows what it has applied.
    assert read(dialect, action=None).event_id == "event:621533da8a3217308d784401f5597bb3"


@pytest.mark.parametrize(
    "moment", [AT, AT * 1000, 1.6e9, "1600000000", "2020-09-13T12:26:40Z", "2020-09-13 12:26:40"]
)
def test_moments_are_read_as_in_data_sets(moment: object, dialect: Dialect) -> None:
    assert read(dialect, ts=moment).timestamp == AT


def test_without_a_moment_the_broker_s_counts(dialect: Dialect) -> None:
    assert read(dialect, ts=None, received_ms=AT + 5).timestamp == AT + 5
    with pytest.raises(BadMessage, match=r"MissingField: ts: missing; the message has"):
        read(dialect, ts=None)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [("remove_from_cart", "dislike"), ("ping", "ignore"), ("add-to-cart", "cart"), (None, "click")],
)
def test_kinds(sent: str | None, kind: str, dialect: Dialect) -> None:
    assert read(dialect, action=sent).kind == kind


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"action": "hover"}, "UnknownKind: action: 'hover' is unknown; known are .*bookmark"),
        ({"action": "forget"}, "UnknownKind: action: 'forget' is unknown"),
        ({"product": {}}, r"MissingField: product\.id: missing; the message has"),
        ({"product": {"id": []}}, "WrongType: item"),
        ({"userId": ""}, "WrongType: user: null"),
        ({"ts": "soon"}, "OutOfRange: ts 'soon' is no timestamp between 1990 and 2100"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], error: str, dialect: Dialect) -> None:
    with pytest.raises(BadMessage, match=error):
        read(dialect, **changes)


def test_other_forms_are_read_beside(dialect: Dialect) -> None:
    own = {"event_id": "1", "user": "ann", "timestamp": AT, "kind": "forget"}
    assert decode_interaction(json.dumps(own).encode(), (), None, dialect).kind == "forget"
    gorse = {"FeedbackType": "bookmark", "UserId": "ann", "ItemId": "m1",
             "Timestamp": "2020-09-13T12:26:40Z"}  # fmt: skip
    assert decode_interaction(json.dumps(gorse).encode(), (), None, dialect).kind == "bookmark"
    bookmark = own | {"kind": "bookmark", "item": "m1"}
    assert decode_interaction(json.dumps(bookmark).encode(), (), None, dialect).kind == "bookmark"
    with pytest.raises(BadMessage, match=r"UnknownKind: kind: 'bookmark' is unknown.*\[kinds\]"):
        decode_interaction(json.dumps(bookmark).encode())


def test_the_weights_are_the_engine_s() -> None:
    settings = load_settings(None, ["kinds.bookmark=0.9", 'kinds.view="ignore"'])
    assert settings.engine.kinds == {"bookmark": 0.9, "view": "ignore"}
    engine = Recommender(settings.engine.model_copy(update={"model": "gnn"}))
    event = Interaction(event_id="1", user="ann", item="m1", timestamp=AT, kind="bookmark")
    engine.observe(event)
    user = engine.users.find("ann")
    assert user is not None
    assert engine.taken.weight(user, 0) == pytest.approx(0.9, abs=1 / 510)
    ignored = Interaction(event_id="2", user="bob", item="m2", timestamp=AT, kind="ignore")
    assert [ranked.item for ranked in engine.observe(ignored).items] == ["m1"]
    assert engine.users.find("bob") is None
    assert engine.items.find("m2") is None
    with pytest.raises(ValueError, match="kind: 'hover' is unknown; known are rating"):
        engine.observe(Interaction(event_id="3", user="ann", item="m1", timestamp=AT, kind="hover"))


def test_the_settings_are_written_and_read_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.toml").write_text(CONFIG)
    settings = load_settings(tmp_path / "one.toml")
    (tmp_path / "two.toml").write_text(as_toml(settings))
    assert load_settings(tmp_path / "two.toml") == settings
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "empty.toml").write_text("")
    again = load_settings(tmp_path / "empty.toml")
    assert (again.engine, again.events) == (settings.engine, settings.events)


@pytest.mark.parametrize("kind", ["kinds.x=0", "kinds.x=-1", "kinds.x=maybe", "kinds.forget=1"])
def test_a_kind_that_does_not_fit(kind: str) -> None:
    with pytest.raises(SettingsError, match="kinds"):
        load_settings(None, [kind])


def test_the_defaults_know_no_own_kinds() -> None:
    assert EngineSettings().kinds == {}
