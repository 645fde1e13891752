"""Every change is applied exactly once, whatever happens on the way."""
