"""One request for many images: what they are, a journal of what was found, the run, and its summary."""
