"""Bugs to plant in the RTL: tests that pass with one of them would prove nothing.

    python -m overlays.mutants

Each is planted alone in a copy of the sources, built with D = 32 and one port (two where the bug
needs them), and caught if the core then hangs, breaks a rule of the bus, or gives other bytes than
the reference. A core that an assertion of the RTL stops is caught as well, so each runs in a
process of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from overlays.sim.model import RTL, build

ROOT = Path(__file__).parents[1]
BATCHES = 150
CHECK = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/overlays")
from problems import Bench, check_large_sums, check_random
bench = Bench(32, int(sys.argv[2]), library=Path(sys.argv[1]))
try:
    check_random(bench, 1, int(sys.argv[3]))
    check_large_sums(bench, 1, int(sys.argv[3]) // 3)
except (AssertionError, RuntimeError) as error:
    print(str(error)[:200])
    sys.exit(77)
"""


@dataclass(frozen=True)
class Mutant:
    """A bug: in a file, one text in the place of another."""

    name: str
    file: str
    old: str
    new: str
    ports: int = 1


MUTANTS = (
    Mutant("ring not wrapped", "sampler.sv", "slot & (length[9:0] - 10'd1)", "slot"),
    Mutant("bursts cross 64 bytes", "sampler.sv", "5'd16 - {1'b0, slot[3:0]}", "5'd16"),
    Mutant("degrees beyond 2^11", "sampler.sv", "degree[63:11] != 0 ||", ""),
    Mutant("draws of the generator", "sampler.sv", "b = a ^ (a >> 17)", "b = a ^ (a >> 16)"),
    Mutant("hashed when all fit", "sampler.sv", "how == 1 && holds > {4'd0, most}", "how == 1"),
    Mutant("hashed edges fade", "weigher.sv", "plain ? 16'd32768 : fade", "fade"),
    Mutant("weight not rounded", "weigher.sv", "product2 + 24'd128", "product2"),
    Mutant("fading not rounded", "fading.sv", "product + 33'd32768", "product"),
    Mutant("stale fading", "fading.sv", "!busy || draw < at", "1'b1"),
    Mutant("coefficient not saturated", "accumulate.sv", "shifted4[35:17] != 0 || ", ""),
    Mutant("coefficient not rounded", "accumulate.sv", "[16:0]} + 18'd1", "[16:0]}"),
    Mutant("scale bits in the values", "accumulate.sv", "x5[8*b] && !starts[5]", "x5[8*b]"),
    Mutant("sums of the target before", "accumulate.sv", "adds6 ? sums6[b] : 30'd0", "sums6[b]"),
    Mutant("one bank for two", "results.sv", "room = !taken[1]", "room = 1'b1"),
    Mutant("peak of the target before", "results.sv", "first || size4 > size5", "size4 > size5"),
    Mutant("smallest mantissa", "scale.sv", "quotient < 5'd16 ? 5'd16 : quotient", "quotient"),
    Mutant("exponent one too small", "scale.sv", "peak > bound", "peak > (bound << 1)"),
    Mutant("quotient not rounded", "divide.sv", "quotient[12]} + 9'd1", "quotient[12]}"),
    Mutant("127 to 128", "divide.sv", "size13 == 127 ? 7'd126 : ", ""),
    Mutant("code over even values", "divide.sv", "first && !zero && code", "first && code"),
    Mutant("odd count of targets", "targets.sv", "half || out_left == 1", "half"),
    Mutant("room that is promised", "targets.sv", "state == ASK && room >= 8", "state == ASK"),
    Mutant("more reads than allowed", "reads.sv", "(!in_flight[OUTSTANDING_LOG2] ||", "(1'b1 ||"),
    Mutant("responses not awaited", "writes.sv", "left == 0 && unanswered == 0", "left == 0"),
    Mutant("a third start not held", "registers.sv", "(full || start || reset)", "1'b0"),
    Mutant("blocks of 13 registers", "registers.sv", "where - 6'd24", "where - 6'd25"),
    Mutant("rows of one lane", "writes.sv", "(33 - ROW)'(LANE)", "(33 - ROW)'(0)", ports=2),
    Mutant("set of the next batch", "aggregate.sv", "seed_s[set] <= seed", "seed_s <= {2{seed}}"),
)  # fmt: skip


def caught(mutant: Mutant) -> bool:
    """Whether the random batches fail with this bug in the core.

    Parameters
    ----------
    mutant
        What to plant. Its text must be there, once, and the core must still compile.
    """
    source = (RTL / mutant.file).read_text()
    if source.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: the text is not once in {mutant.file}: {mutant.old}")
    with tempfile.TemporaryDirectory() as folder:
        for path in RTL.glob("*.sv"):
            shutil.copy(path, folder)
        (Path(folder) / mutant.file).write_text(source.replace(mutant.old, mutant.new))
        library = build(32, mutant.ports, Path(folder))
    result = subprocess.run(
        (sys.executable, "-c", CHECK, str(library), str(mutant.ports), str(BATCHES)),
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    library.unlink()
    # 77: other bytes, or a hang; "Assertion failed": one in the RTL has stopped the simulation.
    output = result.stdout + result.stderr
    if result.returncode not in (0, 77) and "Assertion failed" not in output:
        raise RuntimeError(f"{mutant.name}: {output}")
    return result.returncode != 0


def main() -> None:
    """Plant each bug, and say which were caught."""
    missed = []
    for mutant in MUTANTS:
        found = caught(mutant)
        print(f"{'caught' if found else 'MISSED'}  {mutant.name}", flush=True)
        if not found:
            missed.append(mutant.name)
    print(f"{len(MUTANTS) - len(missed)} of {len(MUTANTS)} caught")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
