"""Benchmarks, sampling, pass@k, comparisons and the report."""
