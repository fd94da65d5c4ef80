"""Messages that the fuzzers start from: one of each form that is understood, and its headers."""

from __future__ import annotations

BODIES: list[bytes] = [
    b'{"event_id": "17", "user": "ann", "item": "m42", "timestamp": 1600000000000, '
    b'"kind": "rating", "value": 4.5, "text": "fine", "properties": {"page": 3, "tags": ["a"]}}',
    b'{"item": "m1", "title": "Alien", "text": "In space", "categories": ["Horror"], '
    b'"properties": {"year": 1979}, "timestamp": 1700000000000, "hidden": false}',
    b'{"event": "interaction", "id": "0f4c0036", "timestamp": "1599391467000", "user": "user1", '
    b'"session": "session1", "type": "purchase", "item": "item1", "ranking": "r1", '
    b'"fields": [{"name": "count", "value": 1}]}',
    b'{"event": "item", "id": "1", "timestamp": 1599391467000, "item": "item1", "fields": '
    b'[{"name": "title", "value": "Nice jeans"}, {"name": "category", "value": ["jeans"]}]}',
    b'{"FeedbackType": "read", "UserId": "bob", "ItemId": "vuejs:vue", '
    b'"Timestamp": "2022-03-01T12:00:00Z", "Value": 0, "Comment": ""}',
    b'{"specversion": "1.0", "id": "A1", "source": "/shop", "type": "org.shop.click", '
    b'"time": "2022-03-01T12:00:00+01:00", "data": {"user": "ann", "item": "m1", "value": 2}}',
    b'{"specversion": "1.0", "id": "A2", "source": "/shop", "type": "item", '
    b'"data": {"item": "m1", "title": "Alien"}}',
    b'{"user": "ann", "item": "m1", "kind": "click"}',
    b'{"event_id": "1", "user": "ann", "kind": "forget", "timestamp": 1600000000000}',
]
HEADERS: list[list[tuple[str, bytes]]] = [
    [],
    [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
    [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"A1"),
        ("ce_source", b"/shop"),
        ("ce_type", b"org.shop.view"),
        ("ce_time", b"2022-03-01T12:00:00Z"),
    ],
    [("content-type", b"application/cloudevents+json; charset=UTF-8")],
    [("ce_specversion", b"\xff")],
    [("error.class", b"NotJson"), ("origin.offset", b"7")],
]
