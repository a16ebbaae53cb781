"""Images coming in: where they may come from, what may be read, and how they become pixels."""
