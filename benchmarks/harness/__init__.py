"""What measures rows side by side: environments, workers, a server, and the table."""
