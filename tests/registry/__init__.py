"""The model registry: MLflow on one side, the service on the other."""
