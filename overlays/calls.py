"""Calls of pynq's remote device to its board: counted, limited in time, and as few as will do.

pynq 4.0.0 waits for a board's answer for ever: a board that loses power would stop its client. It
asks for cacheable memory alone, and has the board clean its caches with every transfer. And it
streams each buffer, for which grpc starts a thread; what fits one message is sent as such here,
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
        self._improve(device._stub["buffer"])

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _limited(self, call: Callable[..., Any]) -> Callable[[Any], Any]:
        def limited(request: Any) -> Any:
            self.made += 1
            return call(request, timeout=self.seconds)

        return limited

    def _improve(self, stub: Any) -> None:
        """Give the calls about buffers other ways."""
        allocate, flush, invalidate, stream = (
            stub.allocate, stub.flush, stub.invalidate, stub.write,
        )  # fmt: skip
        write = self._limited(
            self._channel.unary_unary(
                "/buffer.RemoteBuffer/write",
                request_serializer=buffer_pb2.BufferWriteRequest.SerializeToString,
                response_deserializer=buffer_pb2.BufferWriteResponse.FromString,
                _registered_method=True,
            )
        )
        uncached = set()

        def allocate_uncached(request: Any) -> Any:
            request.cacheable = False
            response = allocate(request)
            name = response.buffer_id
            # A board may give what it has.
            if not stub.cacheable(buffer_pb2.CacheableRequest(buffer_id=name)).cacheable:
                uncached.add(name)
            return response

        def flush_if_cached(request: Any) -> Any:
            return buffer_pb2.FlushResponse() if request.buffer_id in uncached else flush(request)

        def invalidate_if_cached(request: Any) -> Any:
            if request.buffer_id in uncached:
                return buffer_pb2.InvalidateResponse()
            return invalidate(request)

        def write_in_one(requests: Iterator[Any]) -> Any:
            messages = list(requests)
            return write(messages[0]) if len(messages) == 1 else stream(iter(messages))

        stub.allocate, stub.write = allocate_uncached, write_in_one
        stub.flush, stub.invalidate = flush_if_cached, invalidate_if_cached
