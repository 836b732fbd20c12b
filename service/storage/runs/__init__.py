"""Occurrences and their runs: queue, attempts, results, history, partitions."""
