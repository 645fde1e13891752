"""The rows of the benchmark, a module for each kind of work; ``run.py`` lists them."""
