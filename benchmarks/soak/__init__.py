"""A soak: thousands of mixed calls to real servers, hostile, cancelled and failing ones among them."""
