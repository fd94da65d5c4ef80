"""Picks the backend of Eq. 1 that the settings name.

A module of its own: backends import the interface from `engine.propagation`, which imports none.
"""

from __future__ import annotations

from engine.propagation import Aggregator, BackendError


def make_aggregator(
    name: str, fanout: int, dimensions: int = 32, board: str = "", bitstream: str = ""
) -> Aggregator:
    """The backend of that name, sampling the `fanout` most recent neighbours.

    Parameters
    ----------
    dimensions
        Width of the embeddings, which "int8" and "pynq" do not all take.
    board, bitstream
        Of "pynq" alone: where the board is ("" for this machine), the file that programs it.

    Raises
    ------
    BackendError
        If there is no such backend, it lacks a package, or it cannot work so.
    """
    if name == "numba":
        from engine.propagation.numba_backend import NumbaAggregator  # noqa: PLC0415

        return NumbaAggregator(fanout)
    if name == "int8":
        from engine.propagation.int8_backend import Int8Aggregator  # noqa: PLC0415

        return Int8Aggregator(fanout, dimensions)
    if name == "numpy":
        from engine.propagation.numpy_backend import NumpyAggregator  # noqa: PLC0415

        return NumpyAggregator(fanout)
    if name == "pynq":
        try:
            from overlays.pynq_aggregator import PynqAggregator  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise BackendError(
                f"aggregator = 'pynq' needs the package {error.name}: pip install '.[fpga]'"
            ) from None
        return PynqAggregator(fanout, dimensions, board, bitstream)
    raise BackendError(f"aggregator = {name!r}: there are 'numba', 'int8', 'numpy' and 'pynq'")
