"""pynq's remote protocol (gRPC), answered from a board twin.

What a client does wrong ends its call with a gRPC status and a sentence, as an unmodified pynq
passes on: pynq looks at the `msg` of some answers only. The GPIO service, of pins of the
processing system that the overlay does not use, is not answered (UNIMPLEMENTED).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent import futures
from typing import Any, NoReturn

import grpc
import numpy as np
from pynq.remote import (
    buffer_pb2,
    buffer_pb2_grpc,
    mmio_pb2,
    mmio_pb2_grpc,
    remote_device_pb2,
    remote_device_pb2_grpc,
)

from overlays.sim.model import BoardError
from overlays.twin.soc import Soc

PORT = 7967
"""What pynq clients connect to if they are not told otherwise."""
_CHUNK = 2 << 20
_STATUS = {
    ValueError: grpc.StatusCode.INVALID_ARGUMENT,
    IndexError: grpc.StatusCode.OUT_OF_RANGE,
    KeyError: grpc.StatusCode.NOT_FOUND,
    FileNotFoundError: grpc.StatusCode.NOT_FOUND,
    MemoryError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    BoardError: grpc.StatusCode.INTERNAL,
}


class _Answers(grpc.ServerInterceptor):  # type: ignore[misc]
    """Ends calls that raise with the status that fits and the exception's words."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None
        if handler.response_streaming:

            def stream(request: Any, context: Any) -> Iterator[Any]:
                try:
                    yield from handler.unary_stream(request, context)
                except tuple(_STATUS) as error:
                    _end(context, error)

            return grpc.unary_stream_rpc_method_handler(
                stream, handler.request_deserializer, handler.response_serializer
            )

        def call(request: Any, context: Any) -> Any:
            try:
                return (handler.stream_unary or handler.unary_unary)(request, context)
            except tuple(_STATUS) as error:
                _end(context, error)

        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(call, handler.request_deserializer, handler.response_serializer)


def _end(context: Any, error: Exception) -> NoReturn:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    # The text of a KeyError is in quotes of its own.
    context.abort(status, str(error.args[0]))
    raise AssertionError


class _Device(remote_device_pb2_grpc.RemoteDeviceServicer):  # type: ignore[misc]
    """Files, and by them the FPGA manager."""

    def __init__(self, soc: Soc) -> None:
        self._soc = soc

    def existsfile(self, request: Any, context: Any) -> Any:
        return remote_device_pb2.ExistsFileResponse(exists=self._soc.exists(request.file_path))

    def readfile(self, request: Any, context: Any) -> Iterator[Any]:
        data = self._soc.read_file(request.file_path)
        for start in range(0, len(data), _CHUNK):
            yield remote_device_pb2.ReadFileResponse(data=data[start : start + _CHUNK])

    def writefile(self, requests: Any, context: Any) -> Any:
        path, content = "", bytearray()
        for request in requests:
            path = path or request.file_path
            if request.file_path != path:
                raise ValueError(f"one call writes one file: {path}, then {request.file_path}")
            content += request.data
        if path:
            self._soc.write_file(path, bytes(content))
        return remote_device_pb2.WriteFileResponse()

    def set_bitstream_attrs(self, request: Any, context: Any) -> Any:
        if request.partial:
            raise ValueError("the twin has no partial reconfiguration")
        return remote_device_pb2.SetBitstreamAttrsResponse(status=True)


class _Mmio(mmio_pb2_grpc.MmioServicer):  # type: ignore[misc]
    """Words on the bus."""

    def __init__(self, soc: Soc) -> None:
        self._soc = soc

    def get_mmio(self, request: Any, context: Any) -> Any:
        self._soc.check_window(request.base_addr, request.length)
        # There is no call that gives a window back: its name says all, so that none is kept.
        name = f"{request.base_addr:x}+{request.length:x}"
        return mmio_pb2.GetMmioResponse(status=True, mmio_id=name)

    def read(self, request: Any, context: Any) -> Any:
        if request.length not in {1, 2, 4, 8}:
            raise ValueError(f"a read is of 1, 2, 4 or 8 bytes, not {request.length}")
        address = self._address(request, max(4, request.length))
        data = self._soc.read_word(address)
        if request.length == 8:
            second = self._soc.read_word(address + 4)
            data = data | second << 32 if request.word_order != "big" else data << 32 | second
        mask = (1 << 8 * request.length) - 1
        return mmio_pb2.ReadResponse(status=True, data=data & mask)

    def write(self, request: Any, context: Any) -> Any:
        if len(request.data) % 4:
            raise ValueError(f"a write is of whole words, not of {len(request.data)} bytes")
        address = self._address(request, len(request.data))
        for at, word in enumerate(np.frombuffer(request.data, "<u4").tolist()):
            self._soc.write_word(address + 4 * at, word)
        return mmio_pb2.WriteResponse(status=True)

    def _address(self, request: Any, size: int) -> int:
        try:
            base, length = (int(part, 16) for part in request.mmio_id.split("+"))
        except ValueError:
            raise KeyError(f"no window {request.mmio_id!r}") from None
        if request.offset % 4:
            raise ValueError(f"offset {request.offset} is not that of a word")
        if not 0 <= request.offset <= length - size:
            raise IndexError(f"offset {request.offset} + {size} is outside the window's {length}")
        return int(base + request.offset)


class _Buffers(buffer_pb2_grpc.RemoteBufferServicer):  # type: ignore[misc]
    """Contiguous memory. Calls transfer whole buffers, as pynq 4.0.0's do."""

    def __init__(self, soc: Soc) -> None:
        self._soc = soc
        self._buffers: dict[str, tuple[int, int]] = {}
        self._cacheable: set[str] = set()

    def allocate(self, request: Any, context: Any) -> Any:
        address = self._soc.allocate(request.size)
        # Not to be guessed, nor taken for a buffer of a twin that ran before this one.
        name = secrets.token_hex(8)
        self._buffers[name] = (address, request.size)
        if request.cacheable:
            self._cacheable.add(name)
        return buffer_pb2.AllocateResponse(buffer_id=name)

    def freebuffer(self, request: Any, context: Any) -> Any:
        address, _ = self._of(request)
        del self._buffers[request.buffer_id]
        self._cacheable.discard(request.buffer_id)
        self._soc.release(address)
        return buffer_pb2.FreeBufferResponse()

    def write(self, requests: Any, context: Any) -> Any:
        position = 0
        for request in requests:
            _check_whole(request)
            address, size = self._of(request)
            if position + len(request.data) > size:
                raise IndexError(f"{position + len(request.data)} bytes for a buffer of {size}")
            view = self._soc.bytes_at(address + position, len(request.data))
            view[:] = np.frombuffer(request.data, np.uint8)
            position += len(request.data)
        return buffer_pb2.BufferWriteResponse()

    def read(self, request: Any, context: Any) -> Iterator[Any]:
        _check_whole(request)
        address, size = self._of(request)
        for start in range(0, size, _CHUNK):
            view = self._soc.bytes_at(address + start, min(_CHUNK, size - start))
            yield buffer_pb2.BufferReadResponse(data=view.tobytes())

    def flush(self, request: Any, context: Any) -> Any:
        self._of(request)  # the twin has no caches
        return buffer_pb2.FlushResponse()

    def invalidate(self, request: Any, context: Any) -> Any:
        self._of(request)
        return buffer_pb2.InvalidateResponse()

    def physical_address(self, request: Any, context: Any) -> Any:
        return buffer_pb2.AddressResponse(address=self._of(request)[0])

    def virtual_address(self, request: Any, context: Any) -> Any:
        return buffer_pb2.AddressResponse(address=self._of(request)[0])

    def cacheable(self, request: Any, context: Any) -> Any:
        self._of(request)
        return buffer_pb2.CacheableResponse(cacheable=request.buffer_id in self._cacheable)

    def _of(self, request: Any) -> tuple[int, int]:
        """Address and size of the buffer that a request names."""
        if request.buffer_id not in self._buffers:
            raise KeyError(f"no buffer {request.buffer_id!r}")
        return self._buffers[request.buffer_id]


def _check_whole(request: Any) -> None:
    if request.start or request.end:
        raise ValueError("parts of buffers are not transferred")


def start_server(soc: Soc, host: str, port: int) -> tuple[grpc.Server, int]:
    """Serve a board in the background.

    Parameters
    ----------
    port
        0 takes a free one.

    Returns
    -------
    tuple
        The server (`stop` and `wait_for_termination` are its) and its port.

    Raises
    ------
    RuntimeError
        If the port cannot be had.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(4),
        interceptors=[_Answers()],
        options=[("grpc.so_reuseport", 0)],  # two twins must not share a port unnoticed
    )
    remote_device_pb2_grpc.add_RemoteDeviceServicer_to_server(_Device(soc), server)
    mmio_pb2_grpc.add_MmioServicer_to_server(_Mmio(soc), server)
    buffer_pb2_grpc.add_RemoteBufferServicer_to_server(_Buffers(soc), server)
    bound = server.add_insecure_port(f"{host}:{port}")
    server.start()
    return server, bound
