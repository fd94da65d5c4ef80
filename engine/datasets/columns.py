"""Recognises the columns of a table: by usual names, or as the caller names them.

A name is compared without case, without ``_``, ``-``, spaces and RecBole's ``:token``: ``user_id``,
``userId``, ``UserID`` and ``user_id:token`` are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.datasets.problems import DatasetError
from engine.datasets.tables import Delimited, Table
from engine.events import Kinds
from engine.fields.times import Clock, is_moment
from engine.fields.values import is_blank


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


USER = _names(
    "user userid uid visitorid visitor customerid customer customernumber customerno custid cid "
    "clientid client memberid member membernumber householdid householdkey household reviewerid "
    "reviewer accountid account personid buyerid shopperid playerid listenerid readerid "
    "subscriberid profileid studentid username author authorid anonymousid distinctid deviceid "
    "cookieid"
)
SESSION = _names(
    "sessionid session visitid visit usersession basketid basket orderid order invoiceno invoice "
    "invoiceid cartid transactionid playlistid"
)
"""Columns that stand in for the user where there is no column of users."""
ITEM = _names(
    "item itemid iid movieid movie filmid film parentasin asin productid product productcode sku "
    "skuid stockcode articleid article newsid clickarticleid bookid isbn trackid track songid song "
    "traid artistid artist artid albumid album gameid game appid businessid business placeid poiid "
    "poi venueid venue locationid recipeid recipe jobid adid hotelid animeid showid videoid video "
    "contentid goodsid offerid listingid courseid postid docid documentid materialid beerid "
    "beerbeerid storyid podcastid itemdescription itemname productname trackname artistname url "
    "object objectid"
)
ITEM_TABLE_ONLY = _names("id")
TIME = _names(
    "timestamp ts time datetime eventtimestamp eventtime eventdate eventdatetime unixreviewtime "
    "unixtimestamp unixtime epoch timestampms timems transactiontimestamp transactiontime "
    "transactiondate orderdate ordertime ordertimestamp invoicedate purchasedate purchasetime "
    "clicktimestamp clicktime viewtime visittime createdat created createtime occurredat "
    "interactiontime servertimestamp dateadded date reviewdate reviewtime day tstamp"
)
VALUE = _names("rating overall stars star score ratings ratingvalue userrating starrating "
               "reviewscore reviewoverall preference value weight")  # fmt: skip
KIND = _names("kind eventtype event eventname action actiontype type behavior behaviour "
              "behaviortype behaviourtype activity interaction interactiontype "
              "feedbacktype")  # fmt: skip
TEXT = _names("reviewtext reviewbody text review comment body content")
HEADLINE = _names("summary reviewsummary reviewheadline reviewtitle headline title")
EVENT_ID = _names("eventid reviewid interactionid")

TITLE = _names("title movietitle name productname itemname producttitle itemtitle displayname "
               "booktitle artistname trackname songname headline itemdescription label "
               "productdescription restaurantname originaltitle")  # fmt: skip
CATEGORIES = _names("categories category genres genre class tags department productcategory "
                    "categoryid categorycode categoryname producttype section topic topics "
                    "subcategory aisle itemcategory")  # fmt: skip
MAIN_CATEGORY = _names("maincategory maincat")
"""Columns whose category is used for rows without a finer one."""
ABOUT = _names("text description overview abstract features body summary synopsis plot")
PROPERTIES = _names("brand store price city state year releaseyear publicationyear "
                    "yearofpublication")  # fmt: skip

ROLES: Mapping[str, tuple[str, ...]] = {
    "user": USER, "item": ITEM, "timestamp": TIME, "kind": KIND, "value": VALUE, "text": TEXT,
    "event_id": EVENT_ID,
}  # fmt: skip
"""The roles that `--columns` may name, and the usual names of their columns."""


def normal(name: str) -> tuple[str, ...]:
    """The forms in which a column's name is compared; a field within an object has two: with its
    path, and alone."""
    plain = re.sub(r":(token|token_seq|float|float_seq)$", "", name)
    alone = re.sub(r"[^a-z0-9]", "", plain.rpartition(".")[2].lower())
    whole = re.sub(r"[^a-z0-9]", "", plain.lower())
    return (alone,) if alone == whole else (whole, alone)


@dataclass
class EventColumns:
    """The columns of a table that make an interaction.

    Attributes
    ----------
    user, item, timestamp, kind, value, event_id
        Names of columns; None where there is none.
    texts
        Columns whose texts are joined: a headline, and what the user wrote.
    clock
        Reads the column of the time.
    """

    user: str
    item: str
    timestamp: str | None = None
    kind: str | None = None
    value: str | None = None
    event_id: str | None = None
    texts: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def described(self) -> str:
        """Such as ``user <- visitorid, item <- itemid, time <- timestamp (ms)``."""
        parts = [f"user <- {self.user}", f"item <- {self.item}"]
        if self.timestamp is not None:
            how = f" ({self.clock.how})" if self.clock.how else ""
            parts.append(f"time <- {self.timestamp}{how}")
        else:
            parts.append("no time: events in the file's order, a second apart")
        for role in ("kind", "value", "event_id"):
            if (name := getattr(self, role)) is not None:
                parts.append(f"{role} <- {name}")
        if self.texts:
            parts.append(f"text <- {' + '.join(self.texts)}")
        return ", ".join(parts)


@dataclass
class ItemColumns:
    """The columns of a table that make an item."""

    item: str
    title: str | None = None
    categories: list[str] = field(default_factory=list)
    main_category: list[str] = field(default_factory=list)
    about: list[str] = field(default_factory=list)
    properties: list[str] = field(default_factory=list)

    def described(self) -> str:
        """Such as ``item <- asin, title <- title, categories <- category``."""
        parts = [f"item <- {self.item}"]
        if self.title:
            parts.append(f"title <- {self.title}")
        for role in ("categories", "about"):
            if names := getattr(self, role):
                parts.append(f"{'text' if role == 'about' else role} <- {' + '.join(names)}")
        return ", ".join(parts)


def parse_columns(given: str) -> dict[str, str]:
    """``user=visitorid,item=itemid`` as a dict.

    Raises
    ------
    DatasetError
        If it is not written like this, or names an unknown role.
    """
    roles: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in given.split(","))):
        role, equals, name = (word.strip() for word in part.partition("="))
        role = {"time": "timestamp", "event": "kind", "rating": "value"}.get(role, role)
        if not (equals and name) or role not in ROLES:
            raise DatasetError(
                f"--columns {part!r}: write role=column, as user=visitorid,item=itemid; roles are "
                f"{', '.join(ROLES)}"
            )
        roles[role] = name
    return roles


def is_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether a first row names columns.

    It does if two of its fields are usual names; or if it holds no number, and a column below does.
    """
    usual = {*USER, *SESSION, *ITEM, *ITEM_TABLE_ONLY, *TIME, *VALUE, *KIND, *TITLE, *CATEGORIES}
    if sum(not usual.isdisjoint(normal(name)) for name in first) >= 2:
        return True
    if not rest or any(_is_number(name) for name in first):
        return False
    widths = [row for row in rest if len(row) == len(first)]
    return any(
        widths and all(_is_number(row[place]) for row in widths) for place in range(len(first))
    ) and all(name.strip() for name in first[1:])


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d[\d.:/ T-]*(?:[eE][+-]?\d+)?\s*", text) is not None


def event_columns(table: Table, given: Mapping[str, str], kinds: Kinds) -> EventColumns | None:
    """The columns of a table that make interactions; None if there are none.

    Raises
    ------
    DatasetError
        If the table lacks a column that is `given`.
    """
    named = {role: _exact(table, role, name) for role, name in given.items()}
    if isinstance(table, Delimited) and not table.header:
        return _without_header(table, named)
    free = [name for name in table.columns if name not in named.values()]
    user = named.get("user") or _first(table, free, USER) or _first(table, free, SESSION)
    item = named.get("item") or _first(table, [n for n in free if n != user], ITEM)
    if user is None or item is None:
        return None
    free = [name for name in free if name not in (user, item)]
    timestamp = named.get("timestamp") or _time(table, free)
    free = [name for name in free if name != timestamp]
    kind = named.get("kind") or _kind(table, free, kinds)
    value = named.get("value") or _first(table, [n for n in free if n != kind], VALUE)
    texts = [named["text"]] if "text" in named else _texts(table, free)
    clock = Clock(table.values(timestamp)) if timestamp is not None else Clock()
    event_id = named.get("event_id") or _first(table, free, EVENT_ID)
    return EventColumns(user, item, timestamp, kind, value, event_id, texts, clock)


def _without_header(table: Delimited, named: dict[str, str]) -> EventColumns | None:
    """The columns of a table without a header: the time is the last column that reads as one.

    The others are user, item, and then a value, if it is a number of at most 1000.
    """
    timestamp = named.get("timestamp")
    if timestamp is None:
        times = [name for name in table.columns if _reads_as_time(table, name, most=0.5)]
        timestamp = times[-1] if times else None
    if timestamp is None and not {"user", "item"} <= named.keys():
        return None
    free = [n for n in table.columns if n != timestamp and n not in named.values()]
    user = named.get("user") or (free.pop(0) if free else None)
    item = named.get("item") or (free.pop(0) if free else None)
    if user is None or item is None:
        return None
    value = named.get("value")
    if value is None and free and _reads_as_value(table, free[0]):
        value = free[0]
    clock = Clock(table.values(timestamp)) if timestamp is not None else Clock()
    return EventColumns(
        user, item, timestamp, named.get("kind"), value, named.get("event_id"),
        [named["text"]] if "text" in named else [], clock,
    )  # fmt: skip


def item_columns(table: Table) -> ItemColumns | None:
    """The columns of a table that make items; None if there are none."""
    names = list(table.columns)
    key = _first(table, names, ITEM) or _first(table, names, ITEM_TABLE_ONLY)
    if key is None:
        return None
    free = [name for name in names if name != key]
    title = _first(table, free, TITLE)
    free = [name for name in free if name != title]
    categories = _all(table, free, CATEGORIES)
    main = _all(table, free, MAIN_CATEGORY)
    about = _all(table, free, ABOUT)
    properties = _all(table, free, PROPERTIES)
    if title is None and not (categories or main or about):
        return None
    return ItemColumns(key, title, categories, main, about, properties)


def has_user(table: Table) -> bool:
    """Whether a table has a column of users."""
    return _first(table, list(table.columns), USER) is not None


def _exact(table: Table, role: str, name: str) -> str:
    if name in table.columns:
        return name
    alike = [column for column in table.columns if not set(normal(name)).isdisjoint(normal(column))]
    if len(alike) == 1:
        return alike[0]
    raise DatasetError(
        f"{table.source.name} has no column {name!r} for --columns {role}={name}: its columns are "
        f"{', '.join(table.columns)}"
    )


def _first(table: Table, columns: Sequence[str], usual: Sequence[str]) -> str | None:
    found = _all(table, columns, usual)
    return found[0] if found else None


def _all(table: Table, columns: Sequence[str], usual: Sequence[str]) -> list[str]:
    """The columns with usual names, in the order of these; a whole path before its end."""
    found = []
    for name in columns:
        for depth, part in enumerate(normal(name)):
            if part in usual and not _is_object(table, name):
                found.append((usual.index(part), depth, table.columns.index(name), name))
                break
    return [name for *_, name in sorted(found)]


def _is_object(table: Table, column: str) -> bool:
    return any(isinstance(value, dict) for value in table.values(column))


def _time(table: Table, columns: Sequence[str]) -> str | None:
    """The column with a usual name of a time, or a similar one, whose values are times."""
    ends = ("timestamp", "datetime", "time", "date")
    like = [n for n in columns if any(part.endswith(ends) for part in normal(n))]
    candidates = [*_all(table, columns, TIME), *like]
    for name in candidates:
        if _reads_as_time(table, name, most=0.5):
            return name
    # No column reads as a time: a usual name is taken all the same, so that each bad row is
    # reported.
    return next(iter(_all(table, columns, TIME)), None)


def _kind(table: Table, columns: Sequence[str], kinds: Kinds) -> str | None:
    """The column of kinds; of several with usual names, the one with the most known kinds."""
    shares = []
    for place, name in enumerate(_all(table, columns, KIND)):
        values = [value for value in table.values(name) if not is_blank(value)]
        if not all(isinstance(value, str) for value in values):
            continue
        known = sum(kinds.read(value) is not None for value in values)
        if known or normal(name)[-1] not in ("type", "event"):
            shares.append((known / len(values) if values else 0.0, -place, name))
    return max(shares)[2] if shares else None


def _texts(table: Table, columns: Sequence[str]) -> list[str]:
    body = next((n for n in _all(table, columns, TEXT) if _is_text(table, n)), None)
    headline = next(
        (n for n in _all(table, columns, HEADLINE) if n != body and _is_text(table, n)), None
    )
    if body is None:
        return []
    return [body] if headline is None else [headline, body]


def _is_text(table: Table, column: str) -> bool:
    return all(isinstance(value, str) or is_blank(value) for value in table.values(column))


def _reads_as_time(table: Table, column: str, most: float = 0.0) -> bool:
    """Whether all values of a column, except a share of at most `most`, are times."""
    values = [value for value in table.values(column) if not is_blank(value)]
    if not values:
        return False
    clock = Clock(values)
    return sum(not is_moment(value, clock) for value in values) <= most * len(values)


def _reads_as_value(table: Table, column: str) -> bool:
    """Whether most values of a column are as small as ratings, unlike ids and times."""
    values = [value for value in table.values(column) if not is_blank(value)]
    return sum(_is_small(value) for value in values) * 2 > len(values)


def _is_small(value: Any) -> bool:
    try:
        return abs(float(value)) <= 1000
    except (TypeError, ValueError):
        return False


def usual(table: Table, names: Sequence[str]) -> str | None:
    """The column of a table that has one of the usual names, in the order of these."""
    return _first(table, list(table.columns), names)
