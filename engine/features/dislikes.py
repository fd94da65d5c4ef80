"""What each user said they do not like: the last eight items."""

from __future__ import annotations

from engine.compiled import kernel
from engine.features.user_items import drop_first, put, remove

MOST = 8
_ONE = 255
"""A dislike's weight, 1, in units of 1 / 255."""


@kernel
def judge(dislikes, user, item, judgement):  # type: ignore[no-untyped-def]
    """Remember an item as disliked (judgement < 0), or that its user thinks better of it (> 0)."""
    if judgement == 0:
        return
    remove(dislikes, user, item)
    if judgement < 0:
        if dislikes.length[user] == MOST:
            drop_first(dislikes, user)
        put(dislikes, user, item, _ONE, False)
