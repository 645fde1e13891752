"""What a training script does, for an environment that has the plugin and mlflow-skinny only."""

import json
import math
import sys

import mlflow
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset import Dataset
from mlflow.exceptions import MlflowException

HEAVY = ("oci", "cryptography", "sqlalchemy", "mlflow_oci_store.emulator")


class Table(Dataset):
    def __init__(self) -> None:
        super().__init__(CodeDatasetSource(tags={"mlflow.source.name": "journey"}), name="table")

    def to_dict(self) -> dict[str, str]:
        return {**super().to_dict(), "schema": "{}", "profile": "{}"}

    @property
    def schema(self) -> None:
        return None

    @property
    def profile(self) -> None:
        return None

    def _compute_digest(self) -> str:
        return "d1"


def main() -> None:
    loaded_at_import = [name for name in HEAVY if name in sys.modules]

    # No set_experiment: the default experiment is found or made.
    with mlflow.start_run(run_name="first"):
        mlflow.log_metric("loss", math.inf)

    mlflow.set_experiment("journey")
    with mlflow.start_run(run_name="parent", tags={"team": "vision"}) as parent:
        mlflow.log_params({f"p{i}": i for i in range(150)})
        for step in range(20):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({f"m{i}": float(i) for i in range(40)})
        mlflow.set_tag("note", "größer")
        mlflow.log_input(Table(), context="training")
        mlflow.log_metric("later", 3.0, synchronous=False)
        with mlflow.start_run(run_name="child", nested=True):
            mlflow.log_text("hello", "greeting.txt")
    mlflow.flush_async_logging()

    client = MlflowClient()
    run = client.get_run(parent.info.run_id)
    children = client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    client.create_registered_model("catalog.schema.model")
    client.create_model_version("catalog.schema.model", f"runs:/{parent.info.run_id}/model")
    client.set_registered_model_alias("catalog.schema.model", "champion", 1)
    client.copy_model_version("models:/catalog.schema.model@champion", "copy")
    try:
        client.get_run("0" * 32)
        refused = None
    except MlflowException as error:
        refused = error.error_code
    print(
        json.dumps(
            {
                "mlflow": mlflow.__version__,
                "loaded_at_import": loaded_at_import,
                "status": run.info.status,
                "params": len(run.data.params),
                "metrics": len(run.data.metrics),
                "later": run.data.metrics.get("later"),
                "note": run.data.tags["note"],
                "datasets": [item.dataset.name for item in run.inputs.dataset_inputs],
                "history": len(client.get_metric_history(run.info.run_id, "loss")),
                "children": [child.info.run_name for child in children],
                "artifacts": [item.path for item in client.list_artifacts(children[0].info.run_id)],
                "models": {
                    model.name: model.aliases for model in client.search_registered_models()
                },
                "copied": client.get_model_version("copy", 1).source,
                "refused": refused,
            }
        )
    )


if __name__ == "__main__":
    main()
