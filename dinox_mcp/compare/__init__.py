"""Two images of one scene: what appeared, disappeared, moved, or changed between them; `run` is read first."""
