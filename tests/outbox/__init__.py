"""Nothing that was logged asynchronously is lost, doubled or out of order, whatever happens."""
