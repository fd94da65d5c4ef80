"""Commands that run the event path or a part of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from streams.cli.common import (
    BrokerFlag,
    ColumnsFlag,
    ConfigFlag,
    DataFlag,
    DatasetPath,
    ItemsFlag,
    JsonFile,
    JsonFlag,
    ModelFlag,
    SeedFlag,
    SetFlag,
    StrictFlag,
    Synthetic,
    chosen_dataset,
    effective_settings,
    err,
    one_line_errors,
    out,
    report_problems,
    require_rights,
    write_json,
)
from streams.cli.logs import log_to_stderr
from streams.settings_io import load_settings

KAFKA_PORT = 9092
"""The port of `millrace broker --kafka`: that of the default of ``broker.bootstrap``."""

topics_app = typer.Typer(
    help="Make the topics, or check those that are there.", no_args_is_help=True
)


def demo(
    data: DataFlag = None,
    columns: ColumnsFlag = "",
    items: ItemsFlag = None,
    events: Annotated[
        int | None, typer.Option(min=1, help="Replay at most this many events.")
    ] = None,
    json_file: JsonFile = None,
    rate: Annotated[
        float, typer.Option(min=0, help="Events per second; 0 for as fast as it goes.")
    ] = 500.0,
    kafka: Annotated[
        bool,
        typer.Option("--kafka", help="Use a real Apache Kafka instead of the embedded broker."),
    ] = False,
    aggregator: Annotated[
        Literal["numba", "int8", "pynq"] | None,
        typer.Option(help="What aggregates embeddings; pynq on a simulated FPGA board."),
    ] = None,
    open_page: Annotated[
        bool,
        typer.Option("--open", help="Open the live page in a browser; runs on until Ctrl-C."),
    ] = False,
    seed: SeedFlag = 0,
) -> None:
    """Run the whole path: broker, worker, replay and subscriber.

    Example: millrace demo --data ml-100k --events 5000 --open
    """
    import webbrowser  # noqa: PLC0415

    from rich.live import Live  # noqa: PLC0415

    from streams.tools.demo import Demo, accounted, demo_settings  # noqa: PLC0415
    from streams.tools.demo_view import LiveView, print_report  # noqa: PLC0415

    with one_line_errors():
        limit = events if data or events else 10_000
        settings = load_settings(None, [f"engine.aggregator={aggregator}"] if aggregator else None)
        dataset = chosen_dataset(
            data, None if data else limit, seed, columns=columns, items=items, settings=settings
        )
        source = [*map(str, data or [])] or ["--synthetic", str(limit)]
        source += ["--columns", columns] if columns else []
        source += ["--items", str(items)] if items else []
        run = Demo(
            demo_settings(settings),
            source=source,
            data=f"{dataset.name} ({dataset.format})",
            seed=seed,
            rate=rate or None,
            limit=limit,
            kafka=kafka,
            show_page=webbrowser.open if open_page else None,
        )
        if not err.is_terminal:  # nothing is drawn while it runs
            run.on_notice = lambda notice: err.print(notice, highlight=False, markup=False)
        view = LiveView(run, {item.item: item.title for item in dataset.items()})
        with Live(view, console=err, refresh_per_second=6, transient=True, screen=False):
            report = run.run()
        print_report(out, report, run.tally, accounted(report))
        write_json(json_file, report)
        if not accounted(report):
            raise typer.Exit(1)


def worker(
    model: ModelFlag = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Answer every interaction on Kafka until stopped.

    Example: millrace worker --broker localhost:9092 --set engine.k=20
    """
    with one_line_errors():
        from streams.worker.run import run  # noqa: PLC0415

        settings = effective_settings(config, set_, broker, model)
        log_to_stderr(settings.log.format)
        run(settings)


def replay(
    path: DatasetPath = None,
    columns: ColumnsFlag = "",
    items: ItemsFlag = None,
    synthetic: Synthetic = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Events per second.")] = None,
    speedup: Annotated[
        float | None,
        typer.Option(min=0.001, help="Factor of real time, by the events' timestamps."),
    ] = None,
    maximum: Annotated[
        bool, typer.Option("--max", help="Send as fast as possible (the default).")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Send at most this many events.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue where an interrupted replay stopped.")
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
    with one_line_errors():
        from streams.kafka import rights  # noqa: PLC0415
        from streams.tools.replay import Pace, Replay  # noqa: PLC0415
        from streams.tools.replay_progress import replay_progress  # noqa: PLC0415

        if sum((rate is not None, speedup is not None, maximum)) > 1:
            raise typer.BadParameter("give one of --rate, --speedup and --max")
        settings = effective_settings(config, set_, broker)
        dataset = chosen_dataset(path, synthetic, seed, strict, columns, items, settings)
        require_rights(settings, rights.of_replay(settings, resume))
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
                err.print(
                    f"Stopped after {job.sent.interactions:,} events; --resume continues there."
                )
                raise typer.Exit(130) from None
        report_problems(dataset)
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
                + (f"; {sent.skipped:,} were on the topic already" if sent.skipped else "")
            )


def watch(
    json_lines: JsonFlag = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Also show what the topic holds already.")
    ] = False,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Also show dead letters.")
    ] = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Follow the recommendations in the terminal, or as JSON lines.

    Example: millrace watch --json | jq '.user, .items[0].item'
    """
    with one_line_errors():
        from streams.kafka import rights  # noqa: PLC0415
        from streams.tools.watch import show  # noqa: PLC0415

        settings = effective_settings(config, set_, broker)
        require_rights(settings, rights.of_watch(settings))
        show(settings, from_beginning, dead_letters, json_lines, out)


def broker(
    kafka: Annotated[
        bool, typer.Option("--kafka", help="A real Apache Kafka (needs java; see `make kafka`).")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of a real Kafka; 0 for a free one.  [9092]"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder for Kafka's log; by default a temporary one.")
    ] = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Run a broker in the foreground: the embedded one, or a real Apache Kafka.

    A real Kafka listens on port 9092, where the other commands look for it. The embedded one takes
    a free port, which it prints: give it to the other commands as --broker 127.0.0.1:PORT.

    Example: millrace broker --kafka
    """
    with one_line_errors():
        from streams.brokers import run_broker  # noqa: PLC0415

        settings = effective_settings(config, set_)
        if port is None:
            port = KAFKA_PORT if kafka else 0
        run_broker("kafka" if kafka else "embedded", port, settings, data)


def board(
    name: Annotated[
        Literal["pynq-z2", "zcu104", "kv260"], typer.Option("--board", help="Which board.")
    ] = "pynq-z2",
    dimensions: Annotated[int, typer.Option(help="Width of the embeddings: 32, 64 or 128.")] = 32,
    ports: Annotated[int, typer.Option(min=1, max=2, help="Memory read ports of the core.")] = 1,
    host: Annotated[str, typer.Option(help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 7967,
    overlay: Annotated[Path, typer.Option(help="Folder for the .bit and the .hwh.")] = Path(
        ".cache/overlays"
    ),
    timing: Annotated[
        list[str] | None,
        typer.Option(help="Timing of the memory in cycles, as name=value. May be repeated."),
    ] = None,
) -> None:
    """Serve a simulated FPGA board: the real RTL, behind pynq's remote protocol (extra fpga).

    Example: millrace board --board kv260
    """
    with one_line_errors():
        from engine.propagation import BackendError  # noqa: PLC0415

        try:
            from overlays.twin.serving import serve  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise BackendError(
                f"the board needs the package {error.name}: pip install '.[fpga]'"
            ) from None
        log_to_stderr()
        serve(name, dimensions, ports, overlay, host, port, timing or [])


@topics_app.command("create")
def topics_create(
    config: ConfigFlag = None, set_: SetFlag = None, broker: BrokerFlag = None
) -> None:
    """Make missing topics, and add missing partitions to the output topics.

    Says what is wrong with existing topics; exits 1 if workers cannot run on them.

    Example: millrace topics create --broker localhost:9092
    """
    with one_line_errors():
        from streams.kafka import topic_checks, topics  # noqa: PLC0415

        settings = effective_settings(config, set_, broker)
        done = [f"made {name}" for name in topics.create(settings)]
        for name, (before, after) in topics.grow(settings).items():
            done.append(f"added partitions to {name}: it had {before}, it has {after}")
        out.print("\n".join(done) or "all topics exist already")
        problems = topic_checks.check(settings)
        for problem in problems:
            err.print(str(problem), style="yellow", highlight=False, markup=False, soft_wrap=True)
        if any(problem.stops for problem in problems):
            raise typer.Exit(1)


@topics_app.command("check")
def topics_check(
    config: ConfigFlag = None, set_: SetFlag = None, broker: BrokerFlag = None
) -> None:
    """Say what is wrong with the topics; exits 1 if anything is.

    Example: millrace topics check
    """
    with one_line_errors():
        from streams.kafka import topic_checks  # noqa: PLC0415

        problems = topic_checks.check(effective_settings(config, set_, broker))
        out.print("\n".join(str(p) for p in problems) or "nothing is wrong with the topics")
        if problems:
            raise typer.Exit(1)
