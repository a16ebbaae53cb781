"""The life of loaded models: queue, worker, caches, and the kinds of request that they answer."""
