"""MLflow's artifacts on OCI Object Storage."""
