"""The store beside MLflow's own SQL store: the same calls, the same results."""
