"""Backends: whatever finds objects in a picture."""
