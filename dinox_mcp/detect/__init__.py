"""The way of a call from a request to a result; `pipeline` is read first."""
