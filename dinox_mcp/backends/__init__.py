"""Backends: whatever finds objects in an image."""
