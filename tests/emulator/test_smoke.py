"""The fixture gives a service that Oracle's SDK can use."""

import oci
from aidp_python_client.aidataplatform_dp import MLOpsClient, models


def test_a_run_is_logged_and_read_back(aidp_emulator):
    config = oci.config.from_file(aidp_emulator.config_file, aidp_emulator.profile)
    client = MLOpsClient(config, service_endpoint=aidp_emulator.endpoint)
    place = (aidp_emulator.platform_id, aidp_emulator.workspace_key)
    experiment_id = client.create_experiment(
        *place, models.CreateExperimentDetails(name="first")
    ).data.experiment_id
    run = client.create_experiment_run(
        *place, models.CreateExperimentRunDetails(experiment_id=experiment_id)
    ).data.run
    batch = models.LogExperimentRunBatchDetails(
        run_id=run.info.run_id,
        metrics=[models.ExperimentRunMetric(key="loss", value=0.5, timestamp=1, step=2)],
    )
    for _ in range(2):
        client.log_experiment_run_batch(*place, batch, opc_retry_token="once")
    [metric] = client.get_experiment_run_by_id(*place, run.info.run_id).data.run.data.metrics
    assert (metric.key, metric.value, metric.timestamp, metric.step) == ("loss", 0.5, 1, 2)
    assert [record.operation for record in aidp_emulator.audit()] == [
        "create_experiment",
        "create_experiment_run",
        "log_experiment_run_batch",
    ]
