"""`pos-consumer sandbox`: each real part alone, in the foreground."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Start one part of the sandbox alone, to try the service against.",
)


@app.command()
def kafka(
    port: Annotated[
        int, typer.Option(help="The port on 127.0.0.1.", min=0, max=65_535)
    ] = 9092,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Keep topics in this folder, for the next start; "
            "else they go when Kafka stops.",
            metavar="FOLDER",
            file_okay=False,
        ),
    ] = None,
    heap: Annotated[str, typer.Option(help="Java's heap, as in -Xmx.")] = "512m",
) -> None:
    """Run a real Apache Kafka, one node, without Docker or Java to install.

    The first start downloads 44 MB into the user's cache folder. Port 0 takes a free
    one.
    """
    from rich.console import Console

    from consumer.sandbox.kafka import EmbeddedKafka

    with EmbeddedKafka(port=port or None, data=data, heap=heap) as broker:
        asked_to_stop = stop_requests()
        kept = f"kept in {broker.folder}" if data else "removed when it stops"
        Console().print(
            f"Apache Kafka answers at [bold]{broker.bootstrap}[/] "
            f"(its data is {kept}). Stop it with Ctrl-C.",
            highlight=False,
            soft_wrap=True,
        )
        while not asked_to_stop.wait(1.0):
            broker.require_running()


@app.command()
def registry(
    port: Annotated[
        int, typer.Option(help="The port on 127.0.0.1.", min=0, max=65_535)
    ] = 8081,
) -> None:
    """Run a real schema registry (Apicurio), which keeps its schemas in memory.

    The first start downloads 159 MB into the user's cache folder. Port 0 takes a free
    one.
    """
    from rich.console import Console

    from consumer.sandbox.registry import EmbeddedRegistry

    with EmbeddedRegistry(port=port or None) as server:
        asked_to_stop = stop_requests()
        Console().print(
            f"The schema registry answers at [bold]{server.address}[/]. "
            "Stop it with Ctrl-C.",
            highlight=False,
            soft_wrap=True,
        )
        while not asked_to_stop.wait(1.0):
            server.require_running()


@app.command()
def target(
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 is all of them.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.", min=0, max=65_535)] = 8080,
    status_port: Annotated[
        int,
        typer.Option(
            help="Where batchStatus is answered: another port, as at Adobe it is "
            "another host. 0 takes a free one.",
            min=0,
            max=65_535,
        ),
    ] = 0,
    status_base: Annotated[
        str | None,
        typer.Option(
            help="What batchStatus is told to be reached at, where that is not the "
            "address listened on: http://target:8081.",
        ),
    ] = None,
    client: Annotated[str, typer.Option(help="The account's client code.")] = "acme",
    token: Annotated[
        str | None, typer.Option(help="Demand this profile token.")
    ] = None,
    calls_per_minute: Annotated[
        int, typer.Option(help="Calls answered in a minute; then 503.", min=1)
    ] = 50,
    processing_time: Annotated[
        float,
        typer.Option(help="Seconds from an upload until it is applied.", min=0.0),
    ] = 1.0,
    faults: Annotated[
        Path | None,
        typer.Option(
            help="Order faults from this TOML file: tables [[fault]].",
            metavar="FILE",
            dir_okay=False,
            exists=True,
        ),
    ] = None,
) -> None:
    """Run a server that answers as Adobe Target does, limits and quirks included.

    Point `target.endpoint` of the configuration at it.
    """
    from consumer.sandbox.target.foreground import run_target
    from consumer.sandbox.target.options import TargetOptions

    options = TargetOptions(
        client=client,
        token=token,
        calls_per_minute=calls_per_minute,
        processing_time=processing_time,
        status_base=status_base,
    )
    run_target(
        options,
        faults=faults,
        host=host,
        port=port,
        status_port=status_port,
        say=typer.echo,
    )


@app.command()
def purchases(
    bootstrap_servers: Annotated[
        str, typer.Option(help="Kafka's address.")
    ] = "localhost:9092",
    topic: Annotated[
        str, typer.Option(help="The topic; created if it is absent.")
    ] = "purchases",
    partitions: Annotated[
        int, typer.Option(help="Partitions of a created topic.", min=1)
    ] = 8,
    events: Annotated[int, typer.Option(help="Records of all kinds.", min=1)] = 200_000,
    visitors: Annotated[
        int, typer.Option(help="Visitors to draw from.", min=1)
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Equal seeds, equal bytes.", min=0)] = 1,
    skew: Annotated[
        float, typer.Option(help="Zipf exponent over visitors; 0 is uniform.", min=0.0)
    ] = 1.2,
    poison: Annotated[
        float, typer.Option(help="The share of broken records.", min=0.0, max=1.0)
    ] = 0.01,
    rate: Annotated[
        float, typer.Option(help="Records a second; 0 is as fast as it can.", min=0.0)
    ] = 0.0,
    start: Annotated[
        str, typer.Option(help="Time of the first record: an ISO time, or now.")
    ] = "now",
    schemas: Annotated[
        Path | None,
        typer.Option(
            help="Write the purchases' schema to this folder, named by its id.",
            metavar="FOLDER",
            file_okay=False,
        ),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(help="Register the schema there, and use its id.", metavar="URL"),
    ] = None,
) -> None:
    """Produce purchases: sales, returns, voids, repeats, late and broken records."""
    from consumer.sandbox.purchases.foreground import run_purchases
    from consumer.sandbox.purchases.spec import Spec

    try:
        spec = Spec(
            events=events, visitors=visitors, seed=seed, skew=skew, poison=poison
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    run_purchases(
        spec,
        bootstrap_servers=bootstrap_servers,
        topic=topic,
        partitions=partitions,
        rate=rate,
        start=start,
        schemas=schemas,
        registry=registry,
    )


def stop_requests() -> threading.Event:
    """Return what is set when this process is asked to end (Ctrl-C or SIGTERM)."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    return asked
