"""Ours, side by side with the alternatives, in one run on one machine.

    make bench                    everything; a quarter of an hour
    make bench QUICK=1            everything, with less of it; about two minutes
    make bench ROWS='log_batch'   only rows with that in their names

Each peer has a virtual environment and a worker process of its own. The workers are asked in turn
for one repetition of a row's work, so that whatever else the machine does hits all of them. Compare
ratios; absolute figures move from machine to machine.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from harness import recording, server, table
from harness.crew import Crew
from harness.peer import FOLDER, PEERS, install, version
from harness.profile import write_profile
from harness.row import Row, Stage, Storage

MODULES = (
    "rows.calls",
    "rows.asynchronous",
    "rows.reads",
    "rows.process",
    "rows.threads",
    "rows.artifacts",
)
DELAY_SECONDS = 0.02
ROOM_BYTES = 6 << 30


class Chosen(NamedTuple):
    """A row that is to be done, and the module it is in."""

    module: str
    row: Row


def chosen_rows(part: str) -> list[Chosen]:
    """Find the rows that have something in their names."""
    return [
        Chosen(module, row)
        for module in MODULES
        for row in importlib.import_module(module).ROWS
        if part in row.name
    ]


@contextmanager
def stage(folder: Path, *, quick: bool, emulator: bool = False) -> Iterator[Stage]:
    """Start the servers, and stop them at the end."""
    answers = FOLDER / "answers"
    recording.record(answers)
    process = subprocess.Popen(
        [sys.executable, server.__file__, answers, str(DELAY_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        instant, slow = (f"http://127.0.0.1:{port}" for port in process.stdout.readline().split())
        plain = Stage(instant, slow, str(folder), str(write_profile(folder)), quick)
        with ExitStack() as running:
            if emulator:
                plain = plain._replace(
                    storage=running.enter_context(_emulator(folder / "storage", 0)),
                    slow_storage=running.enter_context(_emulator(folder / "slow", DELAY_SECONDS)),
                )
            yield plain
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def _emulator(folder: Path, delay: float) -> Iterator[Storage]:
    from mlflow_oci_store.emulator import AidpEmulator, Delay, Fault

    with AidpEmulator(folder) as running:
        if delay:
            running.faults.add(Fault(Delay(delay), operation="put_object"))
        yield Storage(
            running.tracking_uri,
            running.endpoint,
            running.config_file,
            running.profile,
            f"oci://{running.bucket}@{running.namespace}",
        )


def fast_folder() -> str | None:
    """Find a place in memory: a disk that others write to would be measured instead of a client.

    Returns:
        It, if it has room for what the rows write; None for the usual place.
    """
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES:
        return str(memory)
    return None


def measure(crew: Crew, chosen: Chosen, turns: int) -> dict[str, list[float]]:
    """Have everybody do a row's work in turn, if need be after a turn that does not count."""
    module, row = chosen
    figures: dict[str, list[float]] = {piece.label: [] for piece in row.pieces}
    for turn in range(0 if row.starts_anew else -1, turns):
        # Not always the same one after the same one.
        first = turn % len(row.pieces)
        for piece in (*row.pieces[first:], *row.pieces[:first]):
            figure = crew.turn(piece.peer, module, row.name, piece.label)
            if turn >= 0:
                figures[piece.label].append(figure)
        if sys.stderr.isatty():
            print(
                f"\r\033[K{row.name}: {turn + 1} of {turns}", end="\r", file=sys.stderr, flush=True
            )
    return figures


def surroundings(peers: Iterable[str]) -> dict[str, str]:
    """What the figures depend on: the machine and the versions."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": f"{os.cpu_count()} processors, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        **{PEERS[name].distribution: version(PEERS[name]) for name in peers},
    }


def main() -> None:
    """Measure, print the table, and write the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of about two minutes")
    parser.add_argument("--rows", default="", help="only rows with this in their names")
    parser.add_argument("--json", type=Path, default=FOLDER / "figures.json")
    parser.add_argument("--markdown", type=Path, help="write the table for the documentation, too")
    arguments = parser.parse_args()

    rows = chosen_rows(arguments.rows)
    peers = sorted({piece.peer for chosen in rows for piece in chosen.row.pieces})
    install(PEERS[name] for name in peers)
    results: list[dict[str, object]] = []
    documented: list[str] = []
    with (
        tempfile.TemporaryDirectory(dir=fast_folder()) as folder,
        stage(
            Path(folder),
            quick=arguments.quick,
            emulator=any(chosen.row.emulator for chosen in rows),
        ) as set_up,
        Crew(set_up) as crew,
    ):
        for chosen in rows:
            row = chosen.row
            figures = measure(crew, chosen, row.quick_turns if arguments.quick else row.turns)
            print("\n".join(table.lines(row, figures)), end="\n\n", flush=True)
            results.append(table.as_json(row, figures))
            documented += table.markdown(row, figures)
    arguments.json.write_text(
        json.dumps({**surroundings(peers), "quick": arguments.quick, "rows": results}, indent=2)
        + "\n"
    )
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(documented) + "\n")


if __name__ == "__main__":
    main()
