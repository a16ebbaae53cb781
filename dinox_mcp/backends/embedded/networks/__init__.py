"""Small neural networks that ship inside this package: objects, bodies, faces and hands."""
