"""What runs inside the simulator, started by test_cocotb.py: the core against others' bus models.

The AXI4-Lite master and the AXI4 memory are cocotbext-axi's, with pauses on every channel; the
checks of the protocol on the core's master are ours.
"""

import itertools
import random
from collections.abc import Iterator

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam
from problems import BLOCK, CONFIG, CTRL, GUARD, START, problem

from overlays.registers import registers

STEADY = {
    "ar": ("araddr", "arlen", "arsize", "arburst"),
    "aw": ("awaddr", "awlen", "awsize", "awburst"),
    "w": ("wdata", "wstrb", "wlast"),
}


async def check_protocol(dut) -> None:
    """What is valid stays as it is until it is ready; bursts keep within pages; 16 in flight."""
    held: dict[str, tuple[int, ...]] = {}
    in_flight = 0
    while True:
        await FallingEdge(dut.aclk)
        for channel, names in STEADY.items():
            valid = int(getattr(dut, f"m_axi_0_{channel}valid").value)
            ready = int(getattr(dut, f"m_axi_0_{channel}ready").value)
            # Before that a simulator of four states does not know them.
            asked = names if valid else ()
            now = tuple(int(getattr(dut, f"m_axi_0_{name}").value) for name in asked)
            assert held.get(channel, now) == now, f"{channel} changed before it was taken"
            held.pop(channel, None)
            if valid and not ready:
                held[channel] = now
            if valid and channel != "w":
                assert now[0] % 4096 + 8 * (now[1] + 1) <= 4096, "a burst crosses a page"
            if valid and ready and channel == "ar":
                in_flight += 1
        if int(dut.m_axi_0_rvalid.value) and int(dut.m_axi_0_rready.value):
            in_flight -= int(dut.m_axi_0_rlast.value)
        assert in_flight <= 16


def pauses(seed: int) -> Iterator[bool]:
    """Whether a channel waits, cycle by cycle."""
    rng = random.Random(seed)
    return (rng.random() < 0.3 for _ in itertools.count())


@cocotb.test()
@cocotb.parametrize(seed=range(4))
async def batches(dut, seed: int) -> None:
    """Three batches by one write, a reset in the middle of a fourth, and a fifth."""
    cocotb.start_soon(Clock(dut.aclk, 10, "ns").start())
    dut.aresetn.value = 0
    lite = AxiLiteMaster(
        AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, reset_active_level=False
    )
    ram = AxiRam(
        AxiBus.from_prefix(dut, "m_axi_0"), dut.aclk, dut.aresetn, reset_active_level=False,
        size=1 << 20,
    )  # fmt: skip
    await ClockCycles(dut.aclk, 10)
    dut.aresetn.value = 1
    if seed % 2:
        read, write = ram.read_if, ram.write_if
        channels = (
            read.ar_channel, read.r_channel, write.aw_channel, write.w_channel, write.b_channel
        )  # fmt: skip
        for number, channel in enumerate(channels):
            channel.set_pause_generator(pauses(10 * seed + number))
    await ClockCycles(dut.aclk, 4)
    cocotb.start_soon(check_protocol(dut))

    async def control(name: str) -> int:
        return CTRL.fields[name].of(await lite.read_dword(CTRL.offset))

    async def until_idle() -> None:
        for _ in range(4000):
            if await control("IDLE"):
                return
            await ClockCycles(dut.aclk, 20)
        raise AssertionError("The core hangs.")

    rng = np.random.default_rng(seed)
    loaded, top = [], 4096
    for _ in range(5):
        batch = problem(rng, 64, most_targets=8)
        addresses = {}
        parts = {
            "TARGETS": batch.targets, "DEGREES": batch.degrees, "EDGES": batch.edges,
            "TABLE": batch.table, "OUT": np.full(len(batch.targets) * 64, GUARD, np.uint8),
        }  # fmt: skip
        for name, part in parts.items():
            addresses[name] = top
            ram.write(top, part.tobytes())
            top += -(-part.nbytes // 64) * 64
        config = registers()["CONFIG"].word(
            FANOUT=batch.fanout, MODE=batch.mode, LENGTH_LOG2=batch.length_log2, SHIFT=batch.shift
        )
        values = {
            "CONFIG": config, "DECAY": batch.decay, "SEED": batch.seed,
            "COUNT": len(batch.targets), "BASE": 4096, "LIMIT": 1 << 20,
            "START": START.word(START=1),
        }  # fmt: skip
        loaded.append((batch, values | addresses))

    async def start(*batches: dict[str, int]) -> None:
        words = np.zeros((len(batches), BLOCK // 4), "<u4")
        for row, values in zip(words, batches, strict=True):
            for name, value in values.items():
                row[(registers()[name].offset - CONFIG.offset) // 4] = value
        await lite.write(CONFIG.offset, words.tobytes())

    await start(*(values for _, values in loaded[:3]))
    await until_idle()
    assert await control("DONE") == 3
    await start(loaded[3][1])
    await ClockCycles(dut.aclk, 20 + 60 * seed)
    await lite.write_dword(CTRL.offset, CTRL.word(RESET=1))
    await until_idle()
    await start(loaded[4][1])
    await until_idle()
    assert await control("DONE") == 1
    assert await control("ERROR") == 0
    for batch, values in (*loaded[:3], loaded[4]):
        raw = ram.read(values["OUT"], values["COUNT"] * 64)
        got = np.frombuffer(raw, np.uint8).reshape(-1, 64)
        np.testing.assert_array_equal(got, batch.expected())
