"""A time limit for every call of pynq's remote device.

pynq 4.0.0 waits for a board's answer for ever: a board that loses power would stop its client.
"""

from __future__ import annotations

from typing import Any

import grpc
from pynq.pl_server.remote_device import RemoteDevice


class Deadline(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
):
    """The limit of the calls to one board.

    Attributes
    ----------
    seconds : float
        Of a call from now on; it then ends with DEADLINE_EXCEEDED (a grpc.RpcError).
    """

    def __init__(self, device: RemoteDevice, seconds: float) -> None:
        self.seconds = seconds
        channel = grpc.intercept_channel(device.client.channel, self)
        # What pynq makes from here on (windows, buffers) calls by these.
        device._stub = {name: type(stub)(channel) for name, stub in device._stub.items()}

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Limit a call."""
        return continuation(details._replace(timeout=self.seconds), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        """Limit a call with many answers."""
        return continuation(details._replace(timeout=self.seconds), request)

    def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
        """Limit a call with many requests."""
        return continuation(details._replace(timeout=self.seconds), requests)
