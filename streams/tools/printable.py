"""Text of strangers for a terminal: what would move its cursor, or colour it, is escaped."""

from __future__ import annotations

import unicodedata

_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control characters, those that turn the direction of text, half surrogates, line separators."""
_JOINERS = "\u200c\u200d"
"""Of the class Cf, and part of how Persian, Indic scripts and emoji are written."""


def printable(text: str) -> str:
    r"""The text on one line, unsafe characters as Python escapes them.

    Examples
    --------
    >>> print(printable("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in _UNSAFE and c not in _JOINERS
        else c
        for c in text
    )
