"""Sorting by time outside memory, with ties in a seeded random order.

Real files hold long runs of equal timestamps, often sorted by item id: in that order the next
item of a user could be guessed from the file's layout alone.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator

import msgspec

from engine.datasets.problems import DatasetError
from engine.events import Interaction, Properties

CACHE_KIB = 16 * 1024


class TimeSorter:
    """Interactions in order of time; equal times in an order drawn by ``seed``.

    The order depends on what happened and on the seed, not on the order of :meth:`add`. Memory
    stays near twice 16 MiB; the rest lies in temporary files of SQLite that have no name on disk
    (they go when the sorter closes or the process dies): some 150 bytes for each interaction and
    twice its text, in the folder that the environment variable ``SQLITE_TMPDIR`` or ``TMPDIR``
    names, else /var/tmp (https://www.sqlite.org/tempfiles.html).

    Attributes
    ----------
    count : int
        Interactions added so far.
    """

    def __init__(self, seed: int) -> None:
        self.count = 0
        self._key = str(seed).encode()
        # Autocommit; a generator may be drawn from another thread than it was made in.
        self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        # One cursor for all: while any is open, closing the database would keep its files.
        self._cursor = self._database.cursor()
        self._cursor.executescript(
            f"""
            PRAGMA temp_store = FILE;
            PRAGMA main.cache_size = -{CACHE_KIB};
            CREATE TEMP TABLE event (timestamp INTEGER, tie BLOB, body BLOB);
            PRAGMA temp.cache_size = -{CACHE_KIB};
            PRAGMA temp.journal_mode = OFF;
            """
        )

    def add(self, interactions: Iterable[Interaction]) -> None:
        """Add all of these. Raises DatasetError when the temporary disk space runs out."""
        try:
            self._cursor.execute("BEGIN")
            self._cursor.executemany(
                "INSERT INTO event VALUES (?, ?, ?)", map(self._row, interactions)
            )
            self._cursor.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise _no_room(error) from error

    def _row(self, event: Interaction) -> tuple[int, bytes, bytes]:
        self.count += 1
        # The event id is left out of the hash: it may hold the line number.
        what = (event.user, event.item, event.timestamp, event.kind, event.value, event.text)
        tie = hashlib.blake2b(_encode(what), digest_size=8, key=self._key).digest()
        # Without field names a rating takes half the room.
        row = (event.event_id, event.user, event.item, event.kind, event.value, event.text)
        return event.timestamp, tie, _encode((*row, event.properties))

    def __iter__(self) -> Iterator[Interaction]:
        # Rows that tie to the last are the same but for the event id, hence the third key.
        query = "SELECT timestamp, body FROM event ORDER BY timestamp, tie, body"
        try:
            for timestamp, body in self._cursor.execute(query):
                event_id, user, item, kind, value, text, properties = _decode(body)
                yield Interaction(
                    event_id=event_id,
                    user=user,
                    item=item,
                    timestamp=timestamp,
                    kind=kind,
                    value=value,
                    text=text,
                    properties=properties,
                )
        except sqlite3.OperationalError as error:
            raise _no_room(error) from error

    def close(self) -> None:
        """Remove the temporary files."""
        self._cursor.close()
        self._database.close()


_encode = msgspec.msgpack.Encoder().encode
_Row = tuple[str, str, str | None, str, float | None, str | None, Properties]
_decode = msgspec.msgpack.Decoder(_Row).decode


def _no_room(error: sqlite3.OperationalError) -> DatasetError:
    return DatasetError(
        f"sorting by time failed: {error}; its temporary files need up to six times the size of "
        "the data set: set TMPDIR to a folder on a disk with that much room"
    )
