"""MLflow's tracking store on AI Data Platform."""
