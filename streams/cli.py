"""The `millrace` command. Each subcommand only reads its flags and calls the module of its name."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, cast

import typer
from rich.console import Console

from streams.settings import Settings, SettingsError, as_toml, load_settings

if TYPE_CHECKING:
    from engine.datasets import Dataset

# Kernels and encoder run on the calling thread; a pool beside them only takes their core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

app = typer.Typer(
    name="millrace",
    help="A streaming recommender: interactions in from Kafka, each user's new top 10 out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
topics_app = typer.Typer(
    help="Make the topics, or check those that are there.", no_args_is_help=True
)
app.add_typer(topics_app, name="topics")

out = Console()
err = Console(stderr=True)

ConfigFlag = Annotated[
    Path | None, typer.Option("--config", help="Settings file; else millrace.toml, if it is here.")
]
SetFlag = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, as section.name=value. May be given again."),
]
BrokerFlag = Annotated[str | None, typer.Option("--broker", help="host:port of Kafka.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Write JSON lines, for pipes.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the report to this file too.")]
SeedFlag = Annotated[
    int, typer.Option(min=0, help="Seed of the order of ties, or of the synthetic stream.")
]
StrictFlag = Annotated[bool, typer.Option("--strict", help="Stop at the first malformed row.")]
Synthetic = Annotated[
    int | None,
    typer.Option("--synthetic", min=1, metavar="N", help="N invented events, no data set."),
]
DatasetPath = Annotated[
    Path | None, typer.Argument(help="Folder or file of MovieLens, Amazon Reviews or Yelp.")
]


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="A data set; else an invented stream.")] = None,
    events: Annotated[int | None, typer.Option(min=1, help="Events to replay at most.")] = None,
    json_file: JsonFile = None,
    rate: Annotated[
        float, typer.Option(min=0, help="Events per second; 0 for as fast as it goes.")
    ] = 500.0,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="On a real Apache Kafka instead of the embedded broker.")
    ] = False,
    aggregator: Annotated[
        Literal["numba", "int8", "pynq"] | None,
        typer.Option(help="What aggregates embeddings; pynq on a simulated FPGA board."),
    ] = None,
    seed: SeedFlag = 0,
) -> None:
    """Watch the whole path at work: broker, worker, replay and subscriber.

    Example: millrace demo --data ml-100k --events 5000
    """
    from rich.live import Live  # noqa: PLC0415

    from streams.demo import Demo, accounted, demo_settings  # noqa: PLC0415
    from streams.live import LiveView, print_report  # noqa: PLC0415

    with _one_line_errors():
        limit = events if data or events else 10_000
        dataset = _dataset(data, None if data else limit, seed, strict=False)
        run = Demo(
            demo_settings(
                load_settings(None, [f"engine.aggregator={aggregator}"] if aggregator else None)
            ),
            source=[str(data)] if data else ["--synthetic", str(limit)],
            data=f"{dataset.name} ({dataset.format})",
            seed=seed,
            rate=rate or None,
            limit=limit,
            kafka=kafka,
        )
        view = LiveView(run, {item.item: item.title for item in dataset.items()})
        with Live(view, console=err, refresh_per_second=6, transient=True, screen=False):
            report = run.run()
        print_report(out, report, run.tally, accounted(report))
        _write_json(json_file, report)
        if not accounted(report):
            raise typer.Exit(1)


@app.command()
def worker(config: ConfigFlag = None, set_: SetFlag = None, broker: BrokerFlag = None) -> None:
    """Answer every interaction on Kafka until stopped.

    Example: millrace worker --broker localhost:9092 --set engine.k=20
    """
    with _one_line_errors():
        from streams.worker import run  # noqa: PLC0415

        _log_to_stderr()
        run(_settings(config, set_, broker))


@app.command()
def replay(
    path: DatasetPath = None,
    synthetic: Synthetic = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Events per second.")] = None,
    speedup: Annotated[
        float | None, typer.Option(min=0.001, help="Times real time, by the events' timestamps.")
    ] = None,
    maximum: Annotated[
        bool, typer.Option("--max", help="As fast as it goes (the default).")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Events to send at most.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted replay stopped.")
    ] = False,
    strict: StrictFlag = False,
    seed: SeedFlag = 0,
    json_lines: JsonFlag = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Send a data set to Kafka: its items, then its interactions in order of time.

    Example: millrace replay ml-100k --rate 200
    """
    with _one_line_errors():
        from streams.brokers import topic_partitions  # noqa: PLC0415
        from streams.progress import replay_progress  # noqa: PLC0415
        from streams.replay import Pace, Replay  # noqa: PLC0415

        if sum((rate is not None, speedup is not None, maximum)) > 1:
            raise typer.BadParameter("give one of --rate, --speedup and --max")
        dataset = _dataset(path, synthetic, seed, strict)
        settings = _settings(config, set_, broker)
        topic_partitions(settings.broker.bootstrap)  # says what to do when no broker answers
        with replay_progress(json_lines, err) as on_progress:
            job = Replay(
                settings,
                dataset,
                Pace(rate, speedup),
                limit=limit,
                resume=resume,
                on_progress=on_progress,
            )
            try:
                sent = job.run()
            except KeyboardInterrupt:
                err.print(f"Stopped after {job.sent.interactions:,} events; --resume goes on.")
                raise typer.Exit(130) from None
        _report_problems(dataset)
        if json_lines:
            print(
                json.dumps(
                    {
                        "phase": "done",
                        "items": sent.items,
                        "interactions": sent.interactions,
                        "skipped": sent.skipped,
                        "malformed": dataset.problems.count,
                    }
                ),
                flush=True,
            )
        else:
            err.print(
                f"Sent {sent.items:,} items and {sent.interactions:,} interactions"
                + (f"; {sent.skipped:,} were there already" if sent.skipped else "")
            )


@app.command()
def watch(
    json_lines: JsonFlag = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Show what the topic holds already, too.")
    ] = False,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Show dead letters, too.")
    ] = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Follow the recommendations in the terminal, or as JSON lines.

    Example: millrace watch --json | jq '.user, .items[0].item'
    """
    with _one_line_errors():
        from streams.brokers import topic_partitions  # noqa: PLC0415
        from streams.subscriber import show  # noqa: PLC0415

        settings = _settings(config, set_, broker)
        topic_partitions(settings.broker.bootstrap)  # says what to do when no broker answers
        show(settings, from_beginning, dead_letters, json_lines, out)


@app.command()
def broker(
    kafka: Annotated[
        bool, typer.Option("--kafka", help="A real Apache Kafka (needs java; see `make kafka`).")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Folder that keeps Kafka's log.")] = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Run a broker in the foreground: the embedded one, or a real Apache Kafka.

    Example: millrace broker --kafka --port 9092
    """
    with _one_line_errors():
        from streams.brokers import run_broker  # noqa: PLC0415

        run_broker("kafka" if kafka else "embedded", port, _settings(config, set_), data)


@app.command()
def board(
    name: Annotated[
        Literal["pynq-z2", "zcu104", "kv260"], typer.Option("--board", help="Which board.")
    ] = "pynq-z2",
    dimensions: Annotated[int, typer.Option(help="Width of the embeddings: 32, 64 or 128.")] = 32,
    ports: Annotated[int, typer.Option(min=1, max=2, help="Read ports of the core.")] = 1,
    host: Annotated[str, typer.Option(help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 7967,
    overlay: Annotated[Path, typer.Option(help="Folder for the .bit and the .hwh.")] = Path(
        ".cache/overlays"
    ),
    timing: Annotated[
        list[str] | None,
        typer.Option(help="Timing of the memory in cycles, as name=value. May be given again."),
    ] = None,
) -> None:
    """Serve a simulated FPGA board: the real RTL, behind pynq's remote protocol (extra fpga).

    Example: millrace board --board kv260
    """
    with _one_line_errors():
        from engine.propagation import BackendError  # noqa: PLC0415

        try:
            from overlays.twin.serving import serve  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise BackendError(
                f"the board needs the package {error.name}: pip install 'millrace[fpga]'"
            ) from None
        _log_to_stderr()
        serve(name, dimensions, ports, overlay, host, port, timing or [])


@topics_app.command("create")
def topics_create(
    config: ConfigFlag = None, set_: SetFlag = None, broker: BrokerFlag = None
) -> None:
    """Make the topics that are missing.

    Example: millrace topics create --broker localhost:9092
    """
    with _one_line_errors():
        from streams import topics  # noqa: PLC0415

        made = topics.create(_settings(config, set_, broker))
        out.print("\n".join(f"made {name}" for name in made) or "all topics are there already")


@topics_app.command("check")
def topics_check(
    config: ConfigFlag = None, set_: SetFlag = None, broker: BrokerFlag = None
) -> None:
    """Say what is wrong with the topics; exit 1 if anything is.

    Example: millrace topics check
    """
    with _one_line_errors():
        from streams import topics  # noqa: PLC0415

        problems = topics.check(_settings(config, set_, broker))
        out.print("\n".join(str(p) for p in problems) or "all topics are as they should be")
        if problems:
            raise typer.Exit(1)


@app.command()
def evaluate(
    path: DatasetPath = None,
    synthetic: Synthetic = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Events to read at most.")] = None,
    json_file: JsonFile = None,
    strict: StrictFlag = False,
    seed: SeedFlag = 0,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Measure the engine alone, without Kafka: rank each event first, then learn it.

    Example: millrace evaluate ml-100k --json report.json
    """
    with _one_line_errors():
        from streams.evaluate import evaluate_dataset, print_evaluation  # noqa: PLC0415

        dataset = _dataset(path, synthetic, seed, strict)
        report = evaluate_dataset(_settings(config, set_), dataset, limit, seed, err)
        _report_problems(dataset)
        print_evaluation(out, report)
        _write_json(json_file, report)


@app.command("config")
def config_command(
    config: ConfigFlag = None, set_: SetFlag = None, broker: BrokerFlag = None
) -> None:
    """Print the effective settings as a commented TOML file.

    Example: millrace config > millrace.toml
    """
    with _one_line_errors():
        print(as_toml(_settings(config, set_, broker)), end="")


@app.command()
def schemas(folder: Annotated[Path, typer.Argument(help="Where to write them.")]) -> None:
    """Write the JSON Schema of every message.

    Example: millrace schemas schemas/
    """
    with _one_line_errors():
        from streams.messages import json_schemas  # noqa: PLC0415

        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in json_schemas().items():
            file = folder / f"{name}.schema.json"
            file.write_text(json.dumps(schema, indent=2) + "\n")
            out.print(str(file))


@app.command()
def download(
    name: Annotated[
        str,
        typer.Argument(
            help="ml-100k, ml-1m, ml-latest-small, ml-20m, ml-25m or ml-32m; "
            "amazon and yelp tell what to fetch by hand."
        ),
    ],
    folder: Annotated[Path, typer.Option(help="Where to put it.")] = Path("data"),
) -> None:
    """Fetch a MovieLens release, checked and unpacked.

    Example: millrace download ml-1m
    """
    with _one_line_errors():
        from engine.datasets import download as fetch  # noqa: PLC0415

        out.print(str(fetch(name, folder)))


def main() -> None:
    """Entry point of the console script."""
    app()


def _settings(config: Path | None, set_: list[str] | None, broker: str | None = None) -> Settings:
    overrides = list(set_ or [])
    if broker:
        overrides.append(f'broker.bootstrap="{broker}"')
    return load_settings(config, overrides)


def _dataset(path: Path | None, synthetic: int | None, seed: int, strict: bool) -> Dataset:
    from engine.datasets import Synthetic as SyntheticDataset  # noqa: PLC0415
    from engine.datasets import open_dataset  # noqa: PLC0415

    if (path is None) == (synthetic is None):
        raise typer.BadParameter("name a data set, or --synthetic N for an invented one")
    if path is not None:
        return open_dataset(path, strict=strict, seed=seed)
    return SyntheticDataset(events=cast(int, synthetic), seed=seed)


def _report_problems(dataset: Dataset) -> None:
    problems = dataset.problems
    if problems.count:
        err.print(f"[yellow]{problems.count:,} malformed rows were skipped, such as")
        for row in problems.rows[:5]:
            err.print(f"  {row}", highlight=False, markup=False)


def _write_json(file: Path | None, report: dict[str, Any]) -> None:
    if file is not None:
        file.write_text(json.dumps(report, indent=2) + "\n")


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("millrace").setLevel(logging.INFO)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Errors that the user can mend end the command with one line; ours keep their traceback."""
    from confluent_kafka import KafkaException  # noqa: PLC0415

    from engine.datasets import DatasetError  # noqa: PLC0415
    from engine.propagation import BackendError  # noqa: PLC0415
    from streams.brokers import BrokerError  # noqa: PLC0415

    def fail(message: object, status: int) -> NoReturn:
        err.print(f"[red]millrace:[/] {message}", highlight=False)
        raise typer.Exit(status) from None

    from streams.demo import DemoError  # noqa: PLC0415

    try:
        yield
    except (SettingsError, DatasetError, BrokerError, BackendError) as error:
        fail(error, 2)
    except DemoError as error:
        fail(error, 1)
    except KafkaException as error:
        fail(f"Kafka: {error.args[0].str() or error.args[0].name()}", 1)
    except BrokenPipeError:  # whoever read us has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


if __name__ == "__main__":
    main()
