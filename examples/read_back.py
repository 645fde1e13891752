"""Read runs and a model with Oracle's own SDK, to see that what MLflow logged is really there.

    python examples/read_back.py --config-file FILE --profile NAME --endpoint URL \
        --platform OCID --workspace KEY --experiment breast-cancer --model breast-cancer
"""

import argparse

import oci
from aidp_python_client.aidataplatform_dp import MLOpsClient
from aidp_python_client.aidataplatform_dp.models import ListExperimentRunsDetails


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    place = ("config-file", "profile", "endpoint", "platform", "workspace")
    for option in (*place, "experiment", "model"):
        parser.add_argument(f"--{option}", required=True)
    arguments = parser.parse_args()

    config = oci.config.from_file(arguments.config_file, arguments.profile)
    client = MLOpsClient(config, service_endpoint=f"{arguments.endpoint}/20260430")
    show_runs(client, (arguments.platform, arguments.workspace), arguments.experiment)
    print()
    show_versions(client, arguments.platform, arguments.model)


def show_runs(client: MLOpsClient, place: tuple[str, str], name: str) -> None:
    experiment = client.get_experiment_by_name(*place, name).data.experiment
    search = ListExperimentRunsDetails(experiment_ids=[experiment.experiment_id])
    runs = client.list_experiment_runs(*place, search).data.runs

    row = "{:<10} {:<9} {:>6} {:>8} {:>5} {:>7}  {}"
    print(row.format("run", "status", "params", "metrics", "tags", "points", "parent"))
    names = {run.info.run_id: run.info.run_name for run in runs}
    for run in runs:
        metrics = run.data.metrics or []
        points = sum(
            len(
                client.get_experiment_run_metric_history(
                    *place, run.info.run_id, metric.key
                ).data.metrics
            )
            for metric in metrics
        )
        tags = {tag.key: tag.value for tag in run.data.tags or []}
        print(
            row.format(
                run.info.run_name,
                run.info.status,
                len(run.data.params or []),
                len(metrics),
                len(tags),
                points,
                names.get(tags.get("mlflow.parentRunId"), "-"),
            )
        )


def show_versions(client: MLOpsClient, platform: str, model: str) -> None:
    found = client.list_model_versions(platform, filter=f"name = '{model}'").data.model_versions
    row = "{:<14} {:<8} {:<7} {}"
    print(row.format("model", "version", "status", "files"))
    for version in found:
        print(row.format(version.name, version.version, version.status, version.source))


if __name__ == "__main__":
    main()
