"""The local backend against transformers itself, on the same full-size weights: `python -m benchmarks.local`."""
