"""The board twin through an unmodified pynq: its own self-test, memory, errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from pynq import MMIO, Clocks, Device, Overlay
from pynq.pl_server.remote_device import RemoteDevice
from pynq.remote import buffer_pb2

from overlays.boards import board_named
from overlays.calls import Calls
from overlays.hwh import write_overlay
from overlays.twin.device import TwinDevice
from overlays.twin.memory import PAGE, Allocator
from tests.overlays.board.twins import TwinProcess


@pytest.fixture
def remote(twin: TwinProcess) -> Iterator[RemoteDevice]:
    device = RemoteDevice(0, "127.0.0.1", twin.port)
    # pynq sets clocks for ever through the device that was active when one was first set: another
    # test's, whose channel is closed.
    Device.active_device = device
    if "_real_instance" in vars(Clocks):
        del Clocks._real_instance
    yield device
    device.client.channel.close()


def test_pynqs_own_self_test(twin: TwinProcess) -> None:
    command = [sys.executable, "-m", "pynq.remote.selftest", "--ip", "127.0.0.1"]
    command += ["--port", str(twin.port), "--bitstream", str(twin.bit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "summary: 11 passed, 0 failed, 0 skipped" in result.stdout, result.stdout
    assert result.returncode == 0


@pytest.mark.parametrize(("cacheable", "calls"), [(False, (1, 1)), (True, (2, 2))])
def test_caches_are_cleaned_where_memory_has_them(
    remote: RemoteDevice, cacheable: bool, calls: tuple[int, int]
) -> None:
    made = Calls(remote, 5.0)
    if cacheable:  # a board that gives nothing else
        answer = buffer_pb2.CacheableResponse(cacheable=True)
        remote._stub["buffer"].cacheable = lambda _: answer
    buffer = remote.allocate((3 << 20,), np.uint8)  # more than one message
    small = remote.allocate((5,), np.uint8)
    for each in (buffer, small):
        each[:] = 7
        before = made.made
        each.flush()
        flushed = made.made
        each[:] = 0
        each.invalidate()
        assert (flushed - before, made.made - flushed) == calls
        assert (each == 7).all()
        each.freebuffer()
    made.close()


def test_memory_is_freed_and_used_again(remote: RemoteDevice) -> None:
    size = 48 << 20  # of 64 MiB: two do not fit
    for value in range(3):
        buffer = remote.allocate((size,), np.uint8)
        buffer[-1] = value
        buffer.flush()
        buffer[-1] = 99
        buffer.invalidate()
        assert buffer[-1] == value
        with pytest.raises(grpc.RpcError) as raised:
            remote.allocate((size,), np.uint8)
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "contiguous memory" in raised.value.details()
        buffer.freebuffer()


def test_a_freed_buffer_is_gone(remote: RemoteDevice) -> None:
    buffer = remote.allocate((16,), np.uint8)
    buffer.freebuffer()
    with pytest.raises(grpc.RpcError) as raised:
        buffer.flush()
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_buffer_keeps_its_bounds(remote: RemoteDevice) -> None:
    buffer = remote.allocate((16,), np.uint8)
    longer = remote.allocate((17,), np.uint8)
    longer.buffer_id, own = buffer.buffer_id, longer.buffer_id
    with pytest.raises(grpc.RpcError) as raised:
        longer.flush()
    assert raised.value.code() == grpc.StatusCode.OUT_OF_RANGE
    longer.buffer_id = own


@pytest.mark.parametrize("address", [0, 0x1000_0000, 0x9000_0000, 0x43C0_FFFC, 0xFFFF_FFFC])
def test_nothing_answers_elsewhere_on_the_bus(remote: RemoteDevice, address: int) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        MMIO(address, 8, device=remote)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "nothing answers" in raised.value.details()


def test_a_window_keeps_its_bounds(remote: RemoteDevice, twin: TwinProcess) -> None:
    board = board_named("pynq-z2" if remote.arch == "armv7l" else "zcu104")
    window = MMIO(board.gpio, 8, device=remote)
    window.write(4, 7)
    assert window.read(4) == 7
    for use in (lambda: window.read(8), lambda: window.write(4, bytes(8))):
        with pytest.raises(grpc.RpcError) as raised:
            use()
        assert raised.value.code() == grpc.StatusCode.OUT_OF_RANGE


def test_overlays_of_other_cores_are_refused(
    remote: RemoteDevice, twin: TwinProcess, tmp_path: pytest.TempPathFactory
) -> None:
    other = write_overlay(tmp_path, board_named("kv260"), 128, 1)
    with pytest.raises(grpc.RpcError) as raised:
        Overlay(str(other), device=remote)
    assert "dimensions 128 for 32" in raised.value.details()


def test_a_core_that_is_not_programmed_answers_nothing(device: TwinDevice) -> None:
    assert device.read_registers(device.soc.board.core, 4) == b"\xff" * 4


def test_buffers_of_this_process_are_freed_with_their_last_reference(device: TwinDevice) -> None:
    free = device.soc.free
    buffer = device.allocate((3, PAGE), np.uint8)
    part = buffer[1]
    assert part.device_address == buffer.device_address + PAGE
    assert device.soc.free == free - 3 * PAGE
    del part
    assert device.soc.free == free - 3 * PAGE
    del buffer
    assert device.soc.free == free


def test_the_allocator_against_a_list_of_pages() -> None:
    pages = 40
    allocator = Allocator(0x1000, pages * PAGE)
    random = np.random.default_rng(3)
    held: dict[int, int] = {}
    for _ in range(2000):
        if held and random.random() < 0.5:
            start = int(random.choice(list(held)))
            allocator.release(start)
            del held[start]
            with pytest.raises(KeyError):
                allocator.release(start)
        else:
            size = int(random.integers(1, 9 * PAGE))
            taken = np.zeros(pages, bool)
            for start, count in held.items():
                taken[start // PAGE - 1 : start // PAGE - 1 + count] = True
            needed = -(-size // PAGE)
            starts = [at for at in range(pages - needed + 1) if not taken[at : at + needed].any()]
            if starts:
                start = allocator.allocate(size)
                assert start == 0x1000 + starts[0] * PAGE
                held[start] = needed
            else:
                with pytest.raises(MemoryError):
                    allocator.allocate(size)
    assert allocator.free == (pages - sum(held.values())) * PAGE
