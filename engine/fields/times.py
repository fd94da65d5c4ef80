"""Moments as tables write them, in milliseconds since the epoch.

Numbers tell their unit by their size: between 1990 and 2100 the ranges of seconds, milliseconds,
microseconds and nanoseconds do not meet. What a day or a month is in 01/02/2015, a whole column
tells and one value does not: hence :class:`Clock`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

from engine.events import EARLIEST_MS, LATEST_MS
from engine.fields.values import is_blank, shown

UNITS = {"s": (1000, 1), "ms": (1, 1), "µs": (1, 1000), "ns": (1, 1_000_000)}
"""How to get milliseconds from a unit: multiply, then divide."""

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
_DIGITS = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p")
_DATES = (
    # Where a column of day and month is ambiguous from top to bottom, the earlier one counts.
    ("%d-%m-%Y", "day first"), ("%m-%d-%Y", "month first"),
    ("%m/%d/%Y", "month first"), ("%d/%m/%Y", "day first"),
    ("%d.%m.%Y", "day first"), ("%Y/%m/%d", ""), ("%Y.%m.%d", ""),
    ("%m/%d/%y", "month first"), ("%d/%m/%y", "day first"),
    ("%m %d, %Y", ""), ("%b %d, %Y", ""), ("%B %d, %Y", ""), ("%d %b %Y", ""), ("%d %B %Y", ""),
    ("%d-%b-%Y", ""), ("%d-%b-%y", ""), ("%d/%b/%Y", ""),
)  # fmt: skip
_PATTERNS = {f"{day}{clock}": told for day, told in _DATES for clock in _CLOCKS} | {
    "%a %b %d %H:%M:%S %z %Y": "",  # Twitter's
    "%d/%b/%Y:%H:%M:%S %z": "",  # of web servers' logs
}


class Clock:
    """Reads the moments of one column, whose first values decide how dates are read.

    Attributes
    ----------
    how
        In words, for the line that says what was chosen: ``s``, ``ISO 8601``, ``date, day first``.
    """

    def __init__(self, sample: Iterable[object] = ()) -> None:
        values = [value for value in sample if not is_blank(value)]
        self._pattern = _pattern_of([v.strip() for v in values if isinstance(v, str)])
        self.how = self._words(values)

    def __call__(self, field: str, value: object) -> int:
        """Milliseconds since the epoch.

        Raises
        ------
        ValueError
            Naming the field and its value, if it is no moment between 1990 and 2100.
        """
        moment = self._moment(value)
        if moment is None:
            raise ValueError(
                f"{field} {shown(value)} is no timestamp between 1990 and 2100, in seconds, "
                "milliseconds or microseconds since the epoch or as a date like 2017-05-09 18:30:00"
            )
        return moment

    def _moment(self, value: object) -> int | None:
        if isinstance(value, str):
            value = value.strip()
            if not _NUMBER.fullmatch(value):
                return _in_range(self._dated(value))
            moment = _dated_digits(value)
            if moment is not None:
                return moment
            value = int(value) if value.isdigit() and len(value) < 40 else float(value)
        if isinstance(value, datetime):
            return _in_range(value)
        if isinstance(value, date):
            return _in_range(datetime(value.year, value.month, value.day))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return milliseconds(value)[0]

    def _dated(self, text: str) -> datetime | None:
        if self._pattern is not None:
            try:
                return datetime.strptime(text, self._pattern)
            except ValueError:
                pass
        try:
            return datetime.fromisoformat(text.removesuffix(" UTC"))
        except ValueError:
            pass
        try:
            return parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError):
            return None

    def _words(self, values: Sequence[object]) -> str:
        if not values:
            return ""
        first = values[0]
        if isinstance(first, datetime | date):
            return "date"
        if isinstance(first, str):
            if not _NUMBER.fullmatch(first.strip()):
                if self._pattern is None:
                    return "ISO 8601"
                told = _PATTERNS[self._pattern]
                return f"date, {told}" if told else "date"
            if _dated_digits(first.strip()) is not None:
                return "date"
            first = float(first)
        return milliseconds(first)[1] if isinstance(first, int | float) else ""


def milliseconds(value: float) -> tuple[int | None, str]:
    """Milliseconds since the epoch, and the unit that the number's size tells; None of neither."""
    if not math.isfinite(value):
        return None, ""
    for unit, (times, over) in UNITS.items():
        moment = value * times / over if over == 1 or isinstance(value, float) else value // over
        if EARLIEST_MS <= moment <= LATEST_MS:
            return round(moment), unit
    return None, ""


def is_moment(value: object, clock: Clock) -> bool:
    """Whether a value can be read as a moment."""
    try:
        clock("", value)
    except ValueError:
        return False
    return True


def _dated_digits(text: str) -> int | None:
    """Of 20150102 or 20150102123000; as numbers these lie outside of every unit's range."""
    pattern = _DIGITS.get(len(text))
    if pattern is None or not text.isdigit():
        return None
    try:
        return _in_range(datetime.strptime(text, pattern))
    except ValueError:
        return None


def _in_range(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    ms = round(moment.timestamp() * 1000)
    return ms if EARLIEST_MS <= ms <= LATEST_MS else None


def _pattern_of(texts: Sequence[str]) -> str | None:
    """The pattern that reads most of the texts; None for what ISO 8601 reads, and for numbers."""
    texts = [text for text in texts if not _NUMBER.fullmatch(text)]
    if not texts or sum(_fits_iso(text) for text in texts) * 2 > len(texts):
        return None
    best, most = None, 0
    for pattern in _PATTERNS:
        fits = sum(_fits(text, pattern) for text in texts)
        if fits > most:
            best, most = pattern, fits
    return best


def _fits(text: str, pattern: str) -> bool:
    try:
        datetime.strptime(text, pattern)
    except ValueError:
        return False
    return True


def _fits_iso(text: str) -> bool:
    try:
        datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        return False
    return True
