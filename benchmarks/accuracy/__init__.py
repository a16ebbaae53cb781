"""How much the embedded backend finds in labelled photographs: `python -m benchmarks.accuracy --data FOLDER`."""
