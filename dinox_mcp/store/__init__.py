"""What is kept: results, results of videos, saved prompts; and how files are written."""
