"""Objects in key frames of videos, followed between them, counted and drawn; `detect` and `run` are read first."""
