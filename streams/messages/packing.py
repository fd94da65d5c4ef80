"""Vectors as text: base64 of little-endian float16, to travel in JSON."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.messages.bad_message import shown


def pack(vector: ArrayLike) -> str:
    """A vector, shape (dimensions,), as base64 of little-endian float16.

    Raises
    ------
    ValueError
        If it is not one vector, or holds a number that float16 has not.
    """
    with np.errstate(over="ignore"):
        halves = np.asarray(vector).astype("<f2")
    if halves.ndim != 1 or not np.isfinite(halves).all():
        raise ValueError(f"embedding: {shown(vector)} is no vector of numbers within ±65504")
    return base64.b64encode(halves.tobytes()).decode()


def unpack(text: str, dimensions: int) -> NDArray[np.float32]:
    """The vector that `pack` made `text` of, shape (dimensions,).

    Raises
    ------
    ValueError
        If it is not base64 of that many finite numbers.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"embedding: {shown(text)} is not base64: {error}") from None
    if len(data) != 2 * dimensions:
        raise ValueError(
            f"embedding: {shown(text)} holds {len(data)} bytes; expected {2 * dimensions}, "
            f"float16 in {dimensions} dimensions"
        )
    vector = np.frombuffer(data, "<f2").astype(np.float32)
    if not np.isfinite(vector).all():
        raise ValueError(f"embedding: {shown(text)} holds a number that is not finite")
    return vector
