"""How good a backend is on labelled images: data sets, prompts, the run, precision and counts, and the report."""
