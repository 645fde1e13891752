"""The command ``mlflow-oci-store emulator``, as a process; Oracle's CLI as its client."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import oci
import pytest
from aidp_python_client.aidataplatform_dp import MLOpsClient, models
from click.testing import CliRunner

from mlflow_oci_store import __version__
from mlflow_oci_store.cli.main import main


class Running:
    """The command, up to the line that says it can be stopped."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("mlflow-oci-store"), "emulator", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.output = ""
        for line in self.process.stdout:
            self.output += line
            if line.startswith("Ctrl-C"):
                break
        exports = re.findall(r"^  export (.*)$", self.output, re.MULTILINE)
        self.exports = [shlex.split(line)[0].split("=", 1) for line in exports]
        self.tracking_uri = dict(self.exports[:1])["MLFLOW_TRACKING_URI"]
        uri = urlsplit(self.tracking_uri)
        self.platform_id = uri.netloc
        self.workspace_key = unquote(uri.path[1:])
        self.options = {name: values[0] for name, values in parse_qs(uri.query).items()}

    def stop(self, number: int) -> tuple[int, str, str]:
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors


@contextmanager
def running(*arguments: str) -> Iterator[Running]:
    command = Running(*arguments)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.communicate()


def aidp(command: Running, operation: str, body: Any) -> Any:
    """Call Oracle's CLI."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OCI_", "AIDP_"))
    }
    answered = subprocess.run(
        [
            Path(sys.executable).with_name("aidp"),
            *("--config-file", command.options["config_file"]),
            *("--profile", command.options["profile"]),
            *("--auth", "api_key"),
            *("--endpoint", command.options["endpoint"]),
            *("--instance-id", command.platform_id),
            *("mlops", operation, command.workspace_key, "--body", json.dumps(body)),
        ],
        env=environment | dict(command.exports[1:]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answered.returncode == 0, answered.stderr
    return json.loads(answered.stdout.removeprefix("Response:"))["data"]


def test_oracles_cli_works_over_tls_and_data_stays(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with running("--data", data, "--tls") as command:
        assert command.options["endpoint"].startswith("https://")
        created = aidp(command, "create-experiment", {"name": "by Oracle's CLI"})
        code, output, errors = command.stop(signal.SIGTERM)
        assert code == 0
        assert output == "Stopping: requests under way are finished first.\nStopped.\n"
        assert "Traceback" not in errors
    port = str(urlsplit(command.options["endpoint"]).port)
    with running("--data", data, "--tls", "--port", port) as again:
        assert again.tracking_uri == command.tracking_uri
        found = aidp(again, "list-experiments", {})
        assert again.stop(signal.SIGINT)[0] == 0
    [experiment] = found["experiments"]
    assert experiment["name"] == "by Oracle's CLI"
    assert experiment["experiment_id"] == created["experiment_id"]


def test_further_workspaces_and_faults_are_as_ordered(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    fault = {"action": "fail", "status": 503, "code": "ServiceUnavailable"}
    faults.write_text(json.dumps([fault]))
    with running("--workspace", "a/b", "--workspace", "c", "--faults", str(faults)) as command:
        keys = [unquote(urlsplit(uri).path[1:]) for _, uri in command.exports]
        assert keys == [command.workspace_key, "a/b", "c"]
        assert "--data keeps it" in command.output
        config = oci.config.from_file(command.options["config_file"], command.options["profile"])
        client = MLOpsClient(
            config,
            service_endpoint=command.options["endpoint"],
            retry_strategy=oci.retry.NoneRetryStrategy(),
            enable_strict_url_encoding=True,
        )
        with pytest.raises(oci.exceptions.ServiceError) as failed:
            client.list_experiments(command.platform_id, "a/b", models.ListExperimentsDetails())
        assert failed.value.code == "ServiceUnavailable"
        faults.write_text("[]")
        listed = client.list_experiments(command.platform_id, "c", models.ListExperimentsDetails())
        assert listed.data.experiments == []
        folder = Path(command.options["config_file"]).parent
        assert folder.exists()
        assert command.stop(signal.SIGTERM)[0] == 0
        assert not folder.exists()


def test_it_says_what_is_wrong(tmp_path: Path) -> None:
    run = CliRunner()
    wrong = tmp_path / "faults.json"
    wrong.write_text("{}")
    for arguments, message in (
        (["--backend-store-uri", "mysql://a"], "did not start: The emulator keeps its data in"),
        (["--faults", str(wrong)], "must hold a list of faults"),
        (["--port", "99999"], "99999 is not in the range"),
    ):
        result = run.invoke(main, ["emulator", *arguments])
        assert result.exit_code != 0
        assert message in result.output


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow_oci_store.emulator", None)
    result = CliRunner().invoke(main, ["emulator"])
    assert result.exit_code == 1
    assert "pip install 'mlflow-oci-store[emulator]'" in result.output


def test_help_loads_neither_mlflow_nor_the_emulator() -> None:
    script = (
        "import sys\n"
        "from mlflow_oci_store.cli.main import main\n"
        "main(['emulator', '--help'], standalone_mode=False)\n"
        "print(sorted({'mlflow', 'oci', 'mlflow_oci_store.emulator'} & sys.modules.keys()))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines()[-1] == "[]"
    assert "--backend-store-uri" in told.stdout


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"mlflow-oci-store, version {__version__}\n"
