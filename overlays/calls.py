"""Calls of pynq's remote device to its board: counted, limited in time, and cheap.

pynq 4.0.0 waits for a board's answer for ever: a board that loses power would stop its client. And
it streams every buffer, for which grpc starts a thread; what fits one message is sent as such here,
which is the same on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from grpc.experimental import ChannelOptions
from pynq.pl_server.remote_device import RemoteDevice
from pynq.remote import buffer_pb2


class Calls:
    """The calls to one board, from now on.

    Parameters
    ----------
    device
        What it makes from here on (windows, buffers) calls by these.
    seconds
        See below.

    Attributes
    ----------
    seconds : float
        Limit of a call; it then ends with DEADLINE_EXCEEDED (a grpc.RpcError).
    made : int
        Calls so far.
    """

    def __init__(self, device: RemoteDevice, seconds: float) -> None:
        self.seconds = seconds
        self.made = 0
        # Of a channel of pynq's, each answer that is streamed costs a thread.
        self._channel = grpc.insecure_channel(
            f"{device.ip_addr}:{device.port}",
            options=[(ChannelOptions.SingleThreadedUnaryStream, 1)],
        )
        device._stub = {name: type(stub)(self._channel) for name, stub in device._stub.items()}
        for stub in device._stub.values():
            for name, call in vars(stub).items():
                setattr(stub, name, self._limited(call))
        buffers = device._stub["buffer"]
        buffers.write = self._in_one(
            self._limited(
                self._channel.unary_unary(
                    "/buffer.RemoteBuffer/write",
                    request_serializer=buffer_pb2.BufferWriteRequest.SerializeToString,
                    response_deserializer=buffer_pb2.BufferWriteResponse.FromString,
                    _registered_method=True,
                )
            ),
            buffers.write,
        )

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _limited(self, call: Callable[..., Any]) -> Callable[[Any], Any]:
        def limited(request: Any) -> Any:
            self.made += 1
            return call(request, timeout=self.seconds)

        return limited

    @staticmethod
    def _in_one(
        call: Callable[[Any], Any], streamed: Callable[[Any], Any]
    ) -> Callable[[Iterator[Any]], Any]:
        """Writes a buffer by `call` if it is one message, else by `streamed`."""

        def write(requests: Iterator[Any]) -> Any:
            messages = list(requests)
            return call(messages[0]) if len(messages) == 1 else streamed(iter(messages))

        return write
