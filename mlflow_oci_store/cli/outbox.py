"""``mlflow-oci-store outbox``: look at what has not arrived yet, send it, save it, or drop it.

Exit codes, for scripts: 0 nothing is left, 3 something waits to be sent, 4 something was refused (3
goes before 4), 1 the command failed, 2 it was called wrongly.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlflow_oci_store.settings import Settings
    from mlflow_oci_store.tracking.outbox.inventory import Box, Item
    from mlflow_oci_store.tracking.outbox.ledger import DeadLetter, Ledger
    from mlflow_oci_store.tracking.outbox.outbox import Outbox

NOTHING_LEFT, WAITING, REFUSED = 0, 3, 4

_SHOWN_CHARACTERS = 100
_STEP_SECONDS = 0.2


@click.group()
def outbox() -> None:
    """What was logged asynchronously, or during an outage, and has not arrived yet."""


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    in_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    folder = click.option(
        "--dir",
        "outbox_dir",
        type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
        help="The outbox folder, if it is not the one that MLFLOW_OCI_DP_OUTBOX_DIR names.",
    )
    return folder(in_json(command))


@outbox.command()
@_with_options
def status(outbox_dir: Path | None, as_json: bool) -> None:
    """Show each process's share, and whether it is alive.

    What a living process has, it sends itself. What a dead one left is sent by the next process
    that logs to the same workspace, or by `outbox flush`.
    """
    boxes = _boxes(outbox_dir)
    if as_json:
        click.echo(json.dumps([box.json() for box in boxes], indent=2))
    else:
        for box in boxes:
            click.echo(_described(box))
        if not any(box.waiting or box.refused or box.fault for box in boxes):
            click.echo("Nothing is left to send.")
    sys.exit(_exit_code(boxes))


@outbox.command("list")
@_with_options
@click.option("--refused", "only_refused", is_flag=True, help="Only what the service refused.")
def list_items(outbox_dir: Path | None, as_json: bool, only_refused: bool) -> None:
    """Show every metric, param, tag and other change that waits or was refused."""
    boxes = _boxes(outbox_dir)
    for item in _items(boxes, only_refused):
        click.echo(json.dumps(item.json()) if as_json else _summary(item))
    sys.exit(_exit_code(boxes))


@outbox.command()
@_with_options
@click.option("--timeout", type=float, default=300.0, show_default=True, help="Seconds.")
def flush(outbox_dir: Path | None, as_json: bool, timeout: float) -> None:
    """Send what dead processes left."""
    for settings in _settings(box for box in _boxes(outbox_dir) if box.waiting):
        _send(_outbox(settings), timeout, quiet=as_json)
    _conclude(outbox_dir, as_json)


@outbox.command()
@_with_options
@click.option("--timeout", type=float, default=300.0, show_default=True, help="Seconds.")
def retry(outbox_dir: Path | None, as_json: bool, timeout: float) -> None:
    """Send again what the service refused, for instance after an IAM policy was mended."""
    from mlflow_oci_store.tracking.outbox.inventory import KINDS, dead_letters
    from mlflow_oci_store.tracking.outbox.journal import line

    for box in _boxes(outbox_dir):
        letters = [letter for letter in dead_letters(box) if letter.kind in KINDS]
        for settings in _settings([box] if letters else []):
            sender = _outbox(settings)
            with _failures_told(), _ledger(box) as ledger:
                for letter in letters:
                    sender.accept(letter.run_id, line(letter.kind, _anew(letter)), 1)
                    # In this order: a crash in between sends twice rather than never.
                    ledger.drop_dead_letters([letter.id])
            _send(sender, timeout, quiet=as_json)
    _conclude(outbox_dir, as_json)


@outbox.command()
@_with_options
@click.option("--output", type=click.File("w", encoding="utf-8"), default="-", help="A file.")
@click.option("--refused", "only_refused", is_flag=True, help="Only what the service refused.")
def export(outbox_dir: Path | None, as_json: bool, output: IO[str], only_refused: bool) -> None:
    """Write all that waits or was refused as JSON, one object a line; it stays in the outbox."""
    for item in _items(_boxes(outbox_dir), only_refused):
        output.write(json.dumps(item.json(), ensure_ascii=False) + "\n")


@outbox.command()
@_with_options
@click.option("--all", "everything", is_flag=True, help="What waits, too, of dead processes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(outbox_dir: Path | None, as_json: bool, everything: bool, yes: bool) -> None:
    """Throw away what the service refused. It is lost then: `outbox export` saves it before."""
    boxes = _boxes(outbox_dir)
    refused = sum(box.refused for box in boxes)
    waiting = sum(sum(box.waiting.values()) for box in boxes if not box.is_alive)
    question = f"Throw away {_items_text(refused)} that were refused"
    if everything:
        question += f" and {_items_text(waiting)} that dead processes have not sent"
    if not yes:
        click.confirm(f"{question}?", abort=True, err=True)
    for box in boxes:
        _purge(box, everything)
    _conclude(outbox_dir, as_json)


# --- steps that commands share -------------------------------------------------------------------


def _boxes(outbox_dir: Path | None) -> list[Box]:
    from mlflow_oci_store.settings import default_outbox_dir
    from mlflow_oci_store.tracking.outbox.inventory import boxes_in

    with _failures_told():
        return boxes_in(outbox_dir or Path(default_outbox_dir()))


@contextmanager
def _failures_told() -> Iterator[None]:
    """What this package refuses is told in its own sentence, not as a fault of the command."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise click.ClickException(error.message) from error


def _items(boxes: list[Box], only_refused: bool) -> Iterator[Item]:
    from mlflow_oci_store.tracking.outbox.inventory import (
        dead_letters,
        refused_items,
        waiting_items,
    )

    for box in boxes:
        yield from refused_items(dead_letters(box))
        if not only_refused:
            yield from waiting_items(box)


def _settings(boxes: Iterable[Box]) -> Iterator[Settings]:
    """The settings of folders' stores, each target's once."""
    from mlflow_oci_store.tracking.outbox.target import target_folder

    seen = set()
    for box in boxes:
        settings = box.settings
        if settings is None:
            click.echo(f"{box.path}: {box.fault or 'its settings cannot be read'}.", err=True)
        elif (folder := target_folder(settings)) not in seen:
            seen.add(folder)
            yield settings


def _outbox(settings: Settings) -> Outbox:
    from mlflow_oci_store.tracking.outbox.outbox import Outbox

    # The command has waited long enough when it ends.
    return Outbox.of(dataclasses.replace(settings, outbox_exit_seconds=0.0))


@contextmanager
def _ledger(box: Box) -> Iterator[Ledger]:
    """A folder's ledger, to be changed; a dead process's folder goes with its last dead letter."""
    from mlflow_oci_store.tracking.outbox.ledger import Ledger
    from mlflow_oci_store.tracking.outbox.spool import Spool

    spool = Spool.adopt(box.path)
    if spool is not None:
        try:
            yield spool.ledger
        finally:
            spool.close()
        return
    ledger = Ledger(box.path)
    try:
        yield ledger
    finally:
        ledger.close()


def _send(sender: Outbox, timeout: float, *, quiet: bool) -> None:
    give_up_at = time.monotonic() + timeout
    total = left = sender.bytes_left()
    with _progress(total, quiet) as advance:
        while not sender.drain(min(_STEP_SECONDS, max(0.0, give_up_at - time.monotonic()))):
            advance(left - (left := sender.bytes_left()))
            if time.monotonic() >= give_up_at:
                return
        advance(left)


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[int], object]]:
    if quiet or not total:
        yield lambda _: None
        return
    with click.progressbar(length=total, label="Sending", file=sys.stderr) as bar:
        yield bar.update


def _conclude(outbox_dir: Path | None, as_json: bool) -> None:
    boxes = _boxes(outbox_dir)
    waiting = sum(sum(box.waiting.values()) for box in boxes)
    refused = sum(box.refused for box in boxes)
    if as_json:
        click.echo(json.dumps({"waiting": waiting, "refused": refused}))
    else:
        click.echo(f"{_items_text(waiting)} left to send, {_items_text(refused)} refused.")
    sys.exit(_exit_code(boxes))


def _exit_code(boxes: list[Box]) -> int:
    if any(box.waiting or box.fault for box in boxes):
        return WAITING
    return REFUSED if any(box.refused for box in boxes) else NOTHING_LEFT


def _anew(letter: DeadLetter) -> bytes:
    """A dead letter's content, without the token with which it was refused."""
    from mlflow_oci_store.tracking.outbox.journal import REQUEST
    from mlflow_oci_store.tracking.outbox.request import Request

    if letter.kind != REQUEST:
        return letter.content
    request = Request.of_line(letter.content)
    return Request(request.operation, request.body).line()


def _purge(box: Box, everything: bool) -> None:
    from mlflow_oci_store.tracking.outbox.inventory import dead_letters
    from mlflow_oci_store.tracking.outbox.spool import delete_dead

    if everything and delete_dead(box.path):
        return
    letters = dead_letters(box)
    if letters:
        with _ledger(box) as ledger:
            ledger.drop_dead_letters([letter.id for letter in letters])


def _described(box: Box) -> str:
    settings = box.settings
    where = f"{settings.platform_id}/{settings.workspace_key}" if settings else "unknown workspace"
    owner = f"process {box.facts.get('pid', '?')} on {box.facts.get('host', '?')}"
    lines = [
        f"{where}: {owner}, {'alive' if box.is_alive else 'dead'}",
        f"  folder   {box.path} ({box.size:,} bytes)",
        f"  waiting  {_items_text(sum(box.waiting.values()))} of {len(box.waiting)} run(s)",
        f"  refused  {_items_text(box.refused)}",
    ]
    if box.fault:
        lines.append(f"  fault    {box.fault}")
    return "\n".join(lines)


def _summary(item: Item) -> str:
    content = item.content if isinstance(item.content, str) else json.dumps(item.content)
    if len(content) > _SHOWN_CHARACTERS:
        content = f"{content[:_SHOWN_CHARACTERS]}..."
    state = "waiting" if item.refused is None else f"refused ({item.error})"
    return f"{item.run_id}  {item.kind:<7} {content}  {state}"


def _items_text(count: int) -> str:
    return f"{count:,} item{'' if count == 1 else 's'}"
