"""The bodies of requests and replies, and the mapping to the caller's labels and pixels."""
