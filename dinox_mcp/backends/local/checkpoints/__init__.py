"""Which model is meant, where its files come from, and how they become a loaded model."""
