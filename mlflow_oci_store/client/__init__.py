"""The signed call path to AI Data Platform: operations, retries, signatures, connections."""
