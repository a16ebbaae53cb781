"""What is kept: results, results of videos, saved prompts, uploaded images; and how files are written."""
