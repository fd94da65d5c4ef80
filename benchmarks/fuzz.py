"""Hostile input: a million messages, and thousands of damaged saved states.

    python -m benchmarks.fuzz [--messages N] [--json FILE]        (pip install '.[fuzz]')

Nothing but `BadMessage` may come out of the decoders and adapters, and nothing but
`SavedStateError` out of the reader of saved states; each bad message makes one dead letter that
librdkafka takes, with the message's own headers; what is read is written and read again the same.

Nine tenths of the messages are made by atheris (libFuzzer, guided by coverage of streams/, from a
corpus of valid messages of every form), a twentieth by hypothesis; the rest are corpus messages
cut and joined at random. States are bit flips, cuts, headers with other numbers, types and
lengths, and other JSON in entries, with right checksums where those would otherwise tell at once;
their reader may take 2 GiB of address space beyond what its process has at the start.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks import fuzz_checks as checks
from benchmarks.fuzz_corpus import BODIES, HEADERS
from engine.evaluation.provenance import provenance

COUNTERS = ("messages", "good", "bad")
STATES_PER_MESSAGE = 1 / 500
_SPACE = 2 << 30

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = sorted({name for body in BODIES for name in json.loads(body)})
documents = st.tuples(
    st.sampled_from(BODIES), st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3)
).map(lambda drawn: json.dumps(json.loads(drawn[0]) | drawn[1]).encode())
header_lists = st.sampled_from(HEADERS) | st.lists(
    st.tuples(
        st.sampled_from(["ce_id", "ce_specversion", "ce_time", "content-type"])
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.none() | st.binary(max_size=12),
    ),
    max_size=4,
)


def main() -> None:
    """Fuzz, print, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1, help="1 or more")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--atheris", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.atheris:
        run_atheris(arguments.messages, arguments.seed, arguments.atheris)
        return
    started = time.perf_counter()
    report: dict[str, Any] = provenance("made by the fuzzers", arguments.seed)
    by_hypothesis = arguments.messages // 20
    guided = arguments.messages * 9 // 10
    report["atheris"] = in_child(guided, arguments.seed)
    report["hypothesis"] = timed(run_hypothesis, by_hypothesis, arguments.seed)
    rest = arguments.messages - sum(report[name]["messages"] for name in ("atheris", "hypothesis"))
    report["spliced"] = timed(run_spliced, rest, arguments.seed)
    with multiprocessing.get_context("spawn").Pool(1) as process:
        states = max(50, int(arguments.messages * STATES_PER_MESSAGE))
        report["states"] = process.apply(timed, (run_states, states, arguments.seed))
    report["messages"] = sum(
        report[name]["messages"] for name in ("atheris", "hypothesis", "spliced")
    )
    report["crashes"] = 0  # the first one ends the run, non-zero
    report["seconds"] = round(time.perf_counter() - started, 1)
    print(json.dumps(report, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def timed(run: Any, count: int, start: int) -> dict[str, Any]:
    """What a run counted, and how long it took."""
    began = time.perf_counter()
    good, bad = run(count, start)
    return figures(good, bad, time.perf_counter() - began)


def figures(good: int, bad: int, seconds: float) -> dict[str, Any]:
    """As the report has them."""
    return {
        "messages": good + bad,
        "good": good,
        "bad": bad,
        "per_second": round((good + bad) / max(seconds, 1e-9)),
    }


# ---------------------------------------------------------------------- messages


def run_hypothesis(count: int, start: int) -> tuple[int, int]:
    """Messages generated field by field."""
    letters, outcomes = checks.DeadLetters(), [0, 0]

    @seed(start)
    @settings(
        max_examples=count // 2,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(documents | st.binary(max_size=40), header_lists)
    def run(value: bytes, headers: list[tuple[str, bytes]]) -> None:
        outcomes[checks.check_interaction(value, headers, letters)] += 1
        outcomes[checks.check_item(value, headers, letters)] += 1

    run()
    return outcomes[1], outcomes[0]


def run_spliced(count: int, start: int) -> tuple[int, int]:
    """Corpus messages cut and joined."""
    letters, outcomes, draw = checks.DeadLetters(), [0, 0], random.Random(start)
    for number in range(count):
        one, other = draw.choice(BODIES), draw.choice(BODIES)
        value = one[: draw.randrange(len(one) + 1)] + other[draw.randrange(len(other) + 1) :]
        check = checks.check_item if number % 3 == 0 else checks.check_interaction
        outcomes[check(value, draw.choice(HEADERS), letters)] += 1
    return outcomes[1], outcomes[0]


def in_child(count: int, start: int) -> dict[str, Any]:
    """Run atheris, which ends its process, in one of its own."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counters = Path(folder) / "counters"
        np.zeros(len(COUNTERS), np.int64).tofile(counters)
        command = [sys.executable, "-m", "benchmarks.fuzz", "--messages", str(count),
                   "--seed", str(start), "--atheris", str(counters)]  # fmt: skip
        found_by = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, env=found_by
        )
        if done.returncode:
            kept = Path(tempfile.mkdtemp(prefix="millrace-fuzz-"))
            for found in Path(folder).glob("crash-*"):
                found.rename(kept / found.name)
            _, _, cause = done.stderr.partition("=== Uncaught")
            raise SystemExit(f"{cause[:4000]}\natheris stopped; its inputs are in {kept}")
        messages, good, bad = np.fromfile(counters, np.int64).tolist()
    if messages != good + bad:
        raise SystemExit(f"{messages} messages, but {good} good and {bad} bad ones")
    return figures(good, bad, time.perf_counter() - began)


def run_atheris(count: int, start: int, counters: Path) -> None:
    """Fuzz with libFuzzer from the corpus; does not return."""
    import atheris  # noqa: PLC0415 - in the extra `fuzz`

    with atheris.instrument_imports(include=["streams"]):
        for name in [name for name in sys.modules if name.startswith("streams")]:
            del sys.modules[name]
        import importlib  # noqa: PLC0415

        importlib.reload(checks)
    letters = checks.DeadLetters()
    held = np.memmap(counters, np.int64, "r+", shape=(len(COUNTERS),))
    corpus = Path(tempfile.mkdtemp(dir=Path.cwd()))
    for number, body in enumerate(BODIES):
        for form in range(len(HEADERS)):
            (corpus / f"{number}-{form}").write_bytes(bytes([form, number % 2]) + body)

    def once(data: bytes) -> None:
        form, item, value = data[:1], data[1:2], data[2:]
        headers = HEADERS[form[0] % len(HEADERS)] if form else ()
        check = checks.check_item if item and item[0] % 2 else checks.check_interaction
        held[0] += 1
        good = check(value, headers, letters)
        held[1 if good else 2] += 1

    arguments = [f"-runs={count}", f"-seed={start}", "-max_len=700", "-print_final_stats=0"]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], once)
    atheris.Fuzz()


# ---------------------------------------------------------------------- saved states


def run_states(count: int, start: int) -> tuple[int, int]:
    """Damaged files of a saved state."""
    good, draw = 0, random.Random(start)
    with tempfile.TemporaryDirectory() as folder:
        whole = checks.small_state(Path(folder))
        path = Path(folder) / "state"
        checks.expect(checks.check_state(whole, path), "a whole state is loaded")
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _SPACE, used + _SPACE))
        for _ in range(count):
            good += checks.check_state(damaged(whole, draw), path)
    return good, count - good


def damaged(whole: bytes, draw: random.Random) -> bytes:
    """A state with something changed."""
    way = draw.randrange(5)
    if way == 0:
        return whole[: draw.randrange(len(whole))]
    if way == 1:
        flipped = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            place = draw.choice([draw.randrange(64), draw.randrange(len(whole))])
            flipped[place] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    header = checks.header_of(whole)
    layouts = header["__metadata__"]["entries"]
    if way == 2:
        text = bytearray(json.dumps(header).encode())
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(text))
            text[place : place + draw.randrange(3)] = draw.choice([b"9", b"-", b"}", b"\xff", b""])
        return checks.with_header(whole, bytes(text))
    if way == 3:
        name = draw.choice(list(layouts))
        field = draw.choice(["shape", "dtype", "data_offsets", "order", "whole shape", "name"])
        if field == "name":
            header[draw.choice(_ODD_VALUES[field])] = header.pop(name)
        elif field in ("order", "whole shape"):
            layouts[name][field.removeprefix("whole ")] = draw.choice(_ODD_VALUES[field])
        else:
            header[name][field] = draw.choice(_ODD_VALUES[field])
        if field == "whole shape" and draw.random() < 0.7:
            # As likely as not what the file holds still fits.
            original = draw.choice([layout for layout in layouts.values() if "shape" in layout])
            layouts[name]["shape"] = [n << draw.randrange(40) for n in original["shape"] or []]
        return checks.with_header(whole, header)
    texts = [name for name, layout in layouts.items() if "shape" not in layout]
    return checks.with_entry(whole, draw.choice(texts), draw.choice(_ODD_JSON))


_SHAPES = [[], [-1], [1 << 62], [1 << 40, 1 << 40], [0], [0, 1 << 50], [1] * 40, [3, 3], None]
_ODD_VALUES: dict[str, list[Any]] = {
    "shape": _SHAPES,
    "whole shape": _SHAPES,
    "dtype": ["O", "|V8", "S5", "F32", "BF16", "BOOL", "", "x", "F64", "<U9999999", 5],
    "data_offsets": [[0, 0], [-1, 8], [1 << 62, 1 << 63], [8, 0], [0], None],
    "order": ["C", "F", "A", ""],
    "name": ["", "x", "users/ids", "a" * 10_000, "checksum"],
}
_ODD_JSON = [b"null", b"[]", b"{}", b'"a"', b"1e999", b"[1]", b'[""]', b'{"a": 1}', b"[[]]",
             b"nonsense", b"[" * 100_000, b'{"0": {"item": 5, "odd": 1}}', b'{"0": null}',
             b'{"0": 1}', b'{"bit_generator": "PCG64", "state": 1}', b"9" * 5_000]  # fmt: skip

if __name__ == "__main__":
    main()
