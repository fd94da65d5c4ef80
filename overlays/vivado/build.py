"""``python -m overlays.vivado.build BOARD``: a real overlay, by Vivado. Untested: none here.

Runs design.tcl, then gives the pair its place: a Zynq-7000's .hwh gets the clock where pynq 4.0.0
looks for it, and both files a name by their content.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
from pathlib import Path

from overlays.boards import BOARDS
from overlays.hwh import add_zynq_clock
from overlays.registers import registers

_HERE = Path(__file__).parent


def register_commands() -> str:
    """Tcl that describes the registers to Vivado's IP packager, for the .hwh: from $block on."""
    lines = []
    for register in registers().values():
        lines += [
            f"set register [ipx::add_register {register.name} $block]",
            f"set_property address_offset 0x{register.offset:02X} $register",
            "set_property size 32 $register",
            f"set_property access {register.access} $register",
            f"set_property description {{{register.description}}} $register",
        ]
        for field in register.fields.values():
            lines += [
                f"set field [ipx::add_field {field.name} $register]",
                f"set_property bit_offset {field.bit} $field",
                f"set_property bit_width {field.width} $field",
                f"set_property access {field.access} $field",
                f"set_property description {{{field.description}}} $field",
            ]
    return "\n".join(lines) + "\n"


def finish(bit: Path, hwh: Path, folder: Path, name: str) -> Path:
    """Put Vivado's files where clients load them from.

    pynq skips the upload of a firmware file whose name the board has, and keys its cache of parsed
    metadata by the hash of the .bit alone: so the name carries a hash of both files.

    Returns
    -------
    Path
        The .bit, its .hwh beside it.

    Raises
    ------
    ValueError
        If a Zynq-7000's .hwh does not say what clock was achieved.
    """
    bits, metadata = bit.read_bytes(), add_zynq_clock(hwh.read_bytes())
    digest = hashlib.sha256(bits + metadata).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{name}_{digest}.bit"
    final.write_bytes(bits)
    final.with_suffix(".hwh").write_bytes(metadata)
    return final


def main() -> None:
    """Build an overlay."""
    parser = argparse.ArgumentParser(prog="overlays.vivado.build", description=__doc__)
    parser.add_argument("board", choices=BOARDS)
    parser.add_argument("--dimensions", type=int, choices=(32, 64, 128), default=32)
    parser.add_argument("--ports", type=int, choices=(1, 2), default=2)
    parser.add_argument("--out", type=Path, default=Path("build/vivado"))
    arguments = parser.parse_args()
    name = f"millrace_{arguments.board.replace('-', '_')}_d{arguments.dimensions}"
    work = (arguments.out / name).resolve()
    work.mkdir(parents=True, exist_ok=True)
    commands = work / "registers.tcl"
    commands.write_text(register_commands())
    board = _HERE / f"{arguments.board.replace('-', '_')}.tcl"
    values = (board, commands, _HERE.parent / "rtl", work, arguments.dimensions, arguments.ports)
    subprocess.run(
        [
            *("vivado", "-mode", "batch", "-source", str(_HERE / "design.tcl")),
            *("-tclargs", *map(str, values)),
        ],
        cwd=work,
        check=True,
    )
    print(finish(work / "millrace.bit", work / "millrace.hwh", arguments.out, name))


if __name__ == "__main__":
    main()
