"""kill -9 at any point of a training: what its calls had accepted arrives, once and in order."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import mlflow

from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .applied import items, values
from .process import CONTEXT, ServiceProcess, kill, start

KILLS = 100
RUNS = 3
METRICS, PARAMS, TAGS = 20_000, 50, 50
# A victim goes on for so many calls beyond the one that its killer waits for, and for so long.
MOST_CALLS_BEYOND = 60
MOST_SECONDS_BEYOND = 0.03


class Call(NamedTuple):
    """One call of the training; each is made by one process, or by two if the first was killed
    before it said that the call had returned."""

    run: int
    kind: str
    number: int


def script() -> list[Call]:
    """All calls of the training: run after run, each with its end."""
    calls = []
    for run in range(RUNS):
        chosen = random.Random(run)
        share = [METRICS // RUNS + (run < METRICS % RUNS)]
        calls_of_run = [Call(run, "metric", number) for number in range(share[0])]
        for kind, count in (("param", PARAMS), ("tag", TAGS)):
            for number in range(run, count, RUNS):
                at = chosen.randrange(len(calls_of_run))
                calls_of_run.insert(at, Call(run, kind, number))
        calls += [*calls_of_run, Call(run, "end", 0)]
    return calls


def train(
    uri: str, runs: list[str], first: int, last: int, process: int, report: Connection
) -> None:
    """Make the calls from one to another, report each that has returned, and wait to be killed.

    Every other process resumes its run, which waits for what earlier ones left; those between log
    at once.
    """
    mlflow.set_tracking_uri(uri)
    resumes = process % 2 == 1
    for index, call in enumerate(script()[first:last], first):
        run_id = runs[call.run]
        if (resumes or call.kind == "end") and mlflow.active_run() is None:
            mlflow.start_run(run_id=run_id)
        if call.kind == "end":
            mlflow.end_run()
        elif resumes:
            log_to_active_run(call, process)
        else:
            log_to(run_id, call, process)
        os.write(report.fileno(), struct.pack("i", index))
    if last == len(script()):
        mlflow.flush_async_logging()
        report.close()
    threading.Event().wait()


# Whoever makes a call a second time logs another value, so that both can be told apart.


def log_to_active_run(call: Call, process: int) -> None:
    if call.kind == "metric":
        mlflow.log_metric("m", process, step=call.number, synchronous=False)
    elif call.kind == "param":
        mlflow.log_params({f"p{call.number}": "v"}, synchronous=False)
    else:
        tags = {f"t{call.number}": process, "latest": f"{call.number} {process}"}
        mlflow.set_tags(tags, synchronous=False)


def log_to(run_id: str, call: Call, process: int) -> None:
    client = mlflow.MlflowClient()
    if call.kind == "metric":
        client.log_metric(run_id, "m", process, step=call.number, synchronous=False)
    elif call.kind == "param":
        client.log_param(run_id, f"p{call.number}", "v", synchronous=False)
    else:
        client.set_tag(run_id, f"t{call.number}", process, synchronous=False)
        client.set_tag(run_id, "latest", f"{call.number} {process}", synchronous=False)


def test_what_a_returned_call_has_accepted_survives_100_kills(
    service: ServiceProcess, outbox_dir: Path
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    store = OciDataPlatformStore(service.tracking_uri)
    experiment_id = store.create_experiment("killed")
    runs = [store.create_run(experiment_id, "ada", n, [], None).info.run_id for n in range(RUNS)]
    calls = script()
    ends = [index for index, call in enumerate(calls) if call.kind == "end"]
    points = sorted(chosen.sample(range(len(calls) - 1), KILLS - len(ends) + 1) + ends[:-1])

    returned: set[int] = set()
    for process, point in enumerate(points):
        first = max(returned, default=-1) + 1
        last = max(first, point + 1) + chosen.randrange(MOST_CALLS_BEYOND)
        last = min(last, len(calls) - 1)
        victim, report = _victim(service.tracking_uri, runs, first, last, process)
        while max(returned, default=-1) < min(point, last - 1):
            reported = _reported(report)
            assert reported, "the victim has failed"
            returned.update(reported)
        time.sleep(chosen.uniform(0, MOST_SECONDS_BEYOND))
        kill(victim)
        while rest := _reported(report):
            returned.update(rest)
        report.close()
    first = max(returned) + 1
    survivor, report = _victim(service.tracking_uri, runs, first, len(calls), KILLS)
    while rest := _reported(report):
        returned.update(rest)
    kill(survivor)
    assert returned == set(range(len(calls)))

    applied = service.applied()
    tokens = [it.retry_token for it in applied]
    assert len(tokens) == len(set(tokens))
    for number, run_id in enumerate(runs):
        counts = Counter(
            (int(it["step"]), float(it["value"])) for it in items(applied, run_id, "metrics")
        )
        assert set(counts.values()) == {1}
        sent = [int(it["step"]) for it in items(applied, run_id, "metrics")]
        assert sent == sorted(sent)
        wanted = [it for it in calls if it.run == number]
        assert set(sent) == {it.number for it in wanted if it.kind == "metric"}
        # A call that was made twice has two values at the most, and few were.
        assert len(sent) - len(set(sent)) <= KILLS
        run = store.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert set(run.data.params) == {f"p{it.number}" for it in wanted if it.kind == "param"}
        tags = [value for key, value in values(applied, run_id, "tags") if key == "latest"]
        assert run.data.tags["latest"] == tags[-1]
        assert len(tags) == len(set(tags))
        assert [int(it.split()[1]) for it in tags] == sorted(int(it.split()[1]) for it in tags)
        logged = [it.number for it in wanted if it.kind == "tag"]
        assert list(dict.fromkeys(int(it.split()[0]) for it in tags)) == logged
    assert list(outbox_dir.glob("*/*/*.journal"))[1:] == []


def _victim(
    uri: str, runs: list[str], first: int, last: int, process: int
) -> tuple[object, Connection]:
    here, there = CONTEXT.Pipe(duplex=False)
    victim = start(train, uri, runs, first, last, process, there)
    there.close()
    return victim, here


def _reported(report: Connection) -> list[int]:
    """The calls that have returned since; none once the process is dead."""
    data = os.read(report.fileno(), 4 * 16_384)
    while len(data) % 4:
        data += os.read(report.fileno(), 4 - len(data) % 4)
    return [index for (index,) in struct.iter_unpack("i", data)]
