"""The store as MLflow's own clients use it, on the emulator."""
