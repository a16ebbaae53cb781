"""`python -m tests.emulator`: the emulated DINO-X API in the foreground."""

import argparse

import uvicorn

from tests.emulator.app import Emulator
from tests.emulator.server import config


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--key", action="append", help="a key to accept; may be repeated (emulator-key)")
    parser.add_argument("--model-time", type=float, default=0.4, help="seconds that a task takes (0.4)")
    parser.add_argument("--jitter", type=float, default=0.0, help="seconds that it may take longer (0)")
    parser.add_argument("--rate-limit", type=int, default=10, help="requests a second of a key; 0 for any (10)")
    parser.add_argument("--tls-cert", help="PEM file, to serve HTTPS")
    parser.add_argument("--tls-key", help="PEM file")
    options = parser.parse_args()
    emulator = Emulator()
    emulator.keys = set(options.key or [emulator.key])
    emulator.model_time = (options.model_time, options.model_time + options.jitter)
    emulator.rate_limit = options.rate_limit or None
    emulator.strict = False
    tls = {"ssl_certfile": options.tls_cert, "ssl_keyfile": options.tls_key}
    where = {"host": options.host, "port": options.port}
    scheme = "https" if options.tls_cert else "http"
    print(f"{scheme}://{options.host}:{options.port}  keys: {', '.join(sorted(emulator.keys))}", flush=True)  # noqa: T201 - a command's output
    uvicorn.Server(config(emulator, **where, **tls)).run()


if __name__ == "__main__":
    main()
