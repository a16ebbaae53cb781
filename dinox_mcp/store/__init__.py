"""What is kept: results, answers about videos, saved prompts, and how files are written."""
