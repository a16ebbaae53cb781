"""The families of models in torch: one module each."""
