"""Overlays that pynq loads, made without Vivado: the .hwh that describes one, and the .bit.

The .hwh says what Vivado's would of the same block design, as far as pynq 4.0.0 reads it. The
.bit has the container's form, but its payload configures no FPGA: it says which core the board
twin is to run. `vivado/` makes real ones.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from overlays.boards import Board
from overlays.registers import Register, description, registers

CORE, GPIO = "aggregate_0", "leds_gpio"
"""Instance names in the block design."""
RANGE = 0x1_0000
"""Bytes of bus addresses for each of them."""
GPIO_VLNV = "xilinx.com:ip:axi_gpio:2.0"
GPIO_WIDTH = 4
MARK = b"MILLRACE-TWIN-1\0"
"""What the payload of a twin's .bit begins with."""
CLOCK = "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"
_RTL = Path(__file__).parent / "rtl"


def write_overlay(folder: Path, board: Board, dimensions: int, ports: int) -> Path:
    """Write the .bit and the .hwh of a board's twin.

    pynq skips the upload of a firmware file whose name the board has, and keys its cache of parsed
    metadata by the hash of the .bit alone. So the name carries a hash of the contents, and the
    .bit one of the .hwh.

    Parameters
    ----------
    folder
        Made if it is not there.
    dimensions
        D of the core: 32, 64 or 128.
    ports
        Its read ports.

    Returns
    -------
    Path
        The .bit.
    """
    hwh = overlay_hwh(board, dimensions, ports)
    content = {
        "board": board.name,
        "dimensions": dimensions,
        "ports": ports,
        "rtl": rtl_digest(),
        "hwh": hashlib.sha256(hwh).hexdigest(),
    }
    payload = MARK + json.dumps(content, sort_keys=True).encode()
    digest = hashlib.sha256(payload).hexdigest()[:12]
    name = f"millrace_{board.name.lower().replace('-', '_')}_d{dimensions}_{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.hwh").write_bytes(hwh)
    bit = folder / f"{name}.bit"
    bit.write_bytes(_bit(payload, board))
    return bit


def read_image(firmware: bytes) -> dict[str, Any]:
    """What a twin's firmware (the payload that pynq cut out of the .bit) says of the core.

    Raises
    ------
    ValueError
        If it is none.
    """
    # pynq swaps the bytes of every word, as the FPGA manager wants them.
    words = firmware[: len(firmware) // 4 * 4]
    payload = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    if not payload.startswith(MARK):
        raise ValueError("no image of a Millrace board twin (a real bitstream needs a real board)")
    content: dict[str, Any] = json.loads(payload[len(MARK) :].rstrip(b"\xff"))
    return content


def rtl_digest() -> str:
    """SHA-256 of the core's sources."""
    digest = hashlib.sha256()
    for source in sorted(_RTL.glob("*.sv")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def add_zynq_clock(hwh: bytes) -> bytes:
    """The .hwh with the frequency of a Zynq-7000's fabric clock where pynq 4.0.0 looks for it.

    pynqmetadata 0.2.0 looks for the achieved frequency under its UltraScale+ name on a Zynq-7000,
    too, finds None, and `Overlay()` then fails with a TypeError. Vivado writes the frequency as
    PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ. Other devices' .hwh come back as they are.

    Raises
    ------
    ValueError
        If a Zynq-7000 has no achieved frequency.
    """
    root = ElementTree.fromstring(hwh)
    system = root.find(".//MODULE[@MODTYPE='processing_system7']/PARAMETERS")
    if system is None or system.find(f"PARAMETER[@NAME='{CLOCK}']") is not None:
        return hwh
    achieved = system.find("PARAMETER[@NAME='PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ']")
    if achieved is None:
        raise ValueError("the .hwh has no PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ")
    SubElement(system, "PARAMETER", NAME=CLOCK, VALUE=achieved.get("VALUE", ""))
    return _text(root)


def overlay_hwh(board: Board, dimensions: int, ports: int) -> bytes:
    """The .hwh of the block design on a board (see `write_overlay`)."""
    root = Element("EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="0", VIVADOVERSION="2024.1")
    SubElement(
        root,
        "SYSTEMINFO",
        ARCH="zynq" if board.zynq_7000 else "zynquplus",
        DEVICE=board.part,
        NAME="millrace",
        PACKAGE=board.package,
        SPEEDGRADE="-1",
    )
    SubElement(root, "EXTERNALPORTS")
    SubElement(root, "EXTERNALINTERFACES")
    modules = SubElement(root, "MODULES")
    _add_system(modules, board, ports)
    core = _add_module(
        modules,
        CORE,
        str(description()["vlnv"]),
        {
            "C_BASEADDR": hex(board.core),
            "DIMENSIONS": str(dimensions),
            "PORTS": str(ports),
        },
    )
    for register in registers().values():
        _add_register(core, register)
    gpio = _add_module(
        modules,
        GPIO,
        GPIO_VLNV,
        {
            "C_BASEADDR": hex(board.gpio),
            "C_GPIO_WIDTH": str(GPIO_WIDTH),
            "C_IS_DUAL": "0",
            "C_ALL_OUTPUTS": "1",
        },
    )
    _add_register(gpio, Register("GPIO_DATA", 0, "read-write", "Channel 1", {}))
    _add_register(gpio, Register("GPIO_TRI", 4, "read-write", "Channel 1 direction", {}))
    return add_zynq_clock(_text(root))


def _add_system(modules: Element, board: Board, ports: int) -> None:
    """The processing system: clocks, port widths and the map of bus addresses."""
    if board.zynq_7000:
        name, version = "processing_system7", "5.5"
        parameters = {"PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ": str(board.clock)}
        for index in range(4):
            parameters |= {
                f"PCW_FPGA_FCLK{index}_ENABLE": str(int(index == 0)),
                f"PCW_FCLK{index}_PERIPHERAL_DIVISOR0": "7",
                f"PCW_FCLK{index}_PERIPHERAL_DIVISOR1": "1",
                f"PCW_FCLK{index}_PERIPHERAL_CLKSRC": "IO PLL",
            }
    else:
        name, version = "zynq_ultra_ps_e", "3.5"
        # S_AXI_HP0_FPD to S_AXI_HP3_FPD are SAXIGP2 to SAXIGP5.
        parameters = {f"C_SAXIGP{2 + port}_DATA_WIDTH": "64" for port in range(ports)}
        for index in range(4):
            clock = f"PSU__CRL_APB__PL{index}_REF_CTRL__"
            parameters |= {
                f"PSU__FPGA_PL{index}_ENABLE": str(int(index == 0)),
                f"{clock}DIVISOR0": "5",
                f"{clock}DIVISOR1": "1",
                f"{clock}SRCSEL": "IOPLL",
                f"{clock}ACT_FREQMHZ": str(board.clock),
            }
    module = Element(
        "MODULE",
        FULLNAME=f"/{name}_0",
        INSTANCE=f"{name}_0",
        IPTYPE="PERIPHERAL",
        IS_PL="FALSE",
        MODCLASS="PERIPHERAL",
        MODTYPE=name,
        VLNV=f"xilinx.com:ip:{name}:{version}",
    )
    modules.append(module)
    _add_parameters(module, parameters)
    _add_bus(module, board.master, "MASTER")
    memory = SubElement(module, "MEMORYMAP")
    for instance, base in ((CORE, board.core), (GPIO, board.gpio)):
        SubElement(
            memory,
            "MEMRANGE",
            ADDRESSBLOCK="reg0",
            BASENAME="C_BASEADDR",
            BASEVALUE=f"0x{base:08X}",
            HIGHNAME="C_HIGHADDR",
            HIGHVALUE=f"0x{base + RANGE - 1:08X}",
            INSTANCE=instance,
            IS_DATA="TRUE",
            IS_INSTRUCTION="TRUE",
            MASTERBUSINTERFACE=board.master,
            MEMTYPE="REGISTER",
            SLAVEBUSINTERFACE="s_axi",
        )


def _add_module(modules: Element, name: str, vlnv: str, parameters: dict[str, str]) -> Element:
    """A block with registers; what comes back takes them."""
    module = SubElement(
        modules,
        "MODULE",
        FULLNAME=f"/{name}",
        INSTANCE=name,
        IPTYPE="PERIPHERAL",
        IS_PL="TRUE",
        MODCLASS="PERIPHERAL",
        MODTYPE=vlnv.split(":")[2],
        VLNV=vlnv,
    )
    block = SubElement(
        SubElement(module, "ADDRESSBLOCKS"),
        "ADDRESSBLOCK",
        ACCESS="read-write",
        INTERFACE="s_axi",
        NAME="reg0",
        RANGE=str(RANGE),
        USAGE="register",
    )
    _add_parameters(module, parameters)
    _add_bus(module, "s_axi", "SLAVE")
    SubElement(module, "MEMORYMAP")
    return SubElement(block, "REGISTERS")


def _add_register(registers: Element, register: Register) -> None:
    element = SubElement(registers, "REGISTER", NAME=register.name)
    _add_properties(
        element,
        DESCRIPTION=register.description,
        ADDRESS_OFFSET=hex(register.offset),
        SIZE="32",
        ACCESS=register.access,
        IS_ENABLED="true",
        RESET_VALUE="0x0",
    )
    fields = SubElement(element, "FIELDS")
    for field in register.fields.values():
        _add_properties(
            SubElement(fields, "FIELD", NAME=field.name),
            DESCRIPTION=field.description,
            ADDRESS_OFFSET=hex(register.offset),
            ACCESS=field.access,
            BIT_OFFSET=str(field.bit),
            BIT_WIDTH=str(field.width),
        )


def _add_properties(element: Element, **values: str) -> None:
    for name, value in values.items():
        SubElement(element, "PROPERTY", NAME=name, VALUE=value)


def _add_parameters(module: Element, values: dict[str, str]) -> None:
    parameters = SubElement(module, "PARAMETERS")
    for name, value in values.items():
        SubElement(parameters, "PARAMETER", NAME=name, VALUE=value)
    SubElement(module, "PORTS")


def _add_bus(module: Element, name: str, side: str) -> None:
    bus = SubElement(
        SubElement(module, "BUSINTERFACES"),
        "BUSINTERFACE",
        BUSNAME="control",
        DATAWIDTH="32",
        NAME=name,
        TYPE=side,
        VLNV="xilinx.com:interface:aximm:1.0",
    )
    SubElement(bus, "PORTMAPS")


def _text(root: Element) -> bytes:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _bit(payload: bytes, board: Board) -> bytes:
    """The container of a .bit: five fields, the last the payload in whole words."""

    def field(key: bytes, text: str) -> bytes:
        return key + struct.pack(">H", len(text) + 1) + text.encode() + b"\0"

    payload += b"\xff" * (-len(payload) % 4)
    return (
        struct.pack(">H", 9)
        + bytes.fromhex("0ff00ff00ff00ff000")
        + struct.pack(">H", 1)
        + field(b"a", "millrace;Version=twin")
        + field(b"b", board.part.removeprefix("xc") + board.package)
        + field(b"c", "2000/01/01")
        + field(b"d", "00:00:00")
        + b"e"
        + struct.pack(">I", len(payload))
        + payload
    )
