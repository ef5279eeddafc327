"""The error that ends a workload, but not the run."""


class BenchError(Exception):
    """Something was not as a fair measurement needs it."""
