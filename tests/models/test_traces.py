"""Traced programs run as if nothing were traced, and say once that nothing is kept."""

from __future__ import annotations

import subprocess
import sys

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client.connection import Connection
from mlflow_oci_store.tracking.store import OciDataPlatformStore

pytestmark = pytest.mark.parametrize("emulator", [False], ids=["kept"], indirect=True)

TRACED = """
import threading
import mlflow

mlflow.set_experiment("traced")

@mlflow.trace
def inner(x):
    mlflow.update_current_trace(tags={"step": str(x)})
    return x + 1

@mlflow.trace(span_type="AGENT")
def outer(x):
    with mlflow.start_span("between") as span:
        span.set_inputs({"x": x, "text": "y" * 1000})
        return inner(x)

threads = [
    threading.Thread(target=lambda: [outer(number) for number in range(MANY)]) for _ in range(4)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert outer(1) == 2
mlflow.flush_trace_async_logging()
print("searched", len(mlflow.search_traces(return_type="list")))
"""

CHATTING = """
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
import openai


class Chat(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": "hi"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        body = json.dumps({**answer, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Chat)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.OpenAI(api_key="none", base_url=f"http://127.0.0.1:{server.server_port}")

mlflow.set_experiment("traced")
mlflow.openai.autolog()
for _ in range(MANY):
    said = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hello"}]
    )
    assert said.choices[0].message.content == "hi"
assert mlflow.get_last_active_trace_id()
mlflow.flush_trace_async_logging()
print("searched", len(mlflow.search_traces(return_type="list")))
"""


@pytest.mark.parametrize(
    ("program", "many"), [(TRACED, 500), (CHATTING, 20)], ids=["own", "openai"]
)
def test_many_traces_are_answered_by_one_warning_and_silence(
    uri: str, program: str, many: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program.replace("MANY", str(many))],
        capture_output=True,
        text=True,
        check=False,
        env={"MLFLOW_TRACKING_URI": uri, "PATH": ""},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "searched 0\n"
    said = [
        line
        for line in done.stderr.splitlines()
        if "does not exist. Creating a new exp" not in line
    ]
    assert len(said) == 1
    assert said[0].startswith("Traces, with their spans, tags and assessments, are not kept")


@pytest.fixture
def traced(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """This process with a traced experiment; returns its id."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    return str(OciDataPlatformStore(uri).create_experiment("traced"))


def test_a_trace_sends_nothing(traced: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = mlflow.MlflowClient(uri)
    sent: list[str] = []
    monkeypatch.setattr(Connection, "send", lambda *arguments: sent.append(arguments[2]))

    span = client.start_trace("name", experiment_id=traced)
    client.end_trace(span.request_id)
    mlflow.flush_trace_async_logging()

    assert sent == []


def test_what_instrumented_code_says_of_a_trace_is_taken(traced: str, uri: str) -> None:
    client = mlflow.MlflowClient(uri)

    client.set_trace_tag("tr-1", "k", "v")
    client.delete_trace_tag("tr-1", "k")
    feedback = mlflow.log_feedback(trace_id="tr-1", name="good", value=True)
    client.link_traces_to_run(["tr-1"], "f" * 32)

    assert feedback.value is True


def test_reads_find_nothing(traced: str, uri: str, store: OciDataPlatformStore) -> None:
    client = mlflow.MlflowClient(uri)

    assert store.search_traces(experiment_ids=[traced]) == ([], None)
    assert mlflow.get_trace("tr-1") is None
    with pytest.raises(MlflowException) as caught:
        client.get_trace("tr-1")
    assert caught.value.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
