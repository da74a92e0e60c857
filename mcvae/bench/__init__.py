"""Benchmarks: what training and evaluation cost beside something else, each row a ratio within one process."""
