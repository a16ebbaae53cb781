"""A DINO-X API v2, all its endpoints, that runs as a real HTTP server on loopback, with faults to order.

    with serve(Emulator()) as emulator:
        ...  # ask emulator.url with the key emulator.key, then look at emulator.stats()

From the command line: `python -m tests.emulator --port 8080 --model-time 0.4`.
"""

from tests.emulator.app import Emulator, Stats
from tests.emulator.scene import FRACTIONS, POINTS, UNIVERSAL, place_of
from tests.emulator.server import serve

__all__ = ["FRACTIONS", "POINTS", "UNIVERSAL", "Emulator", "Stats", "place_of", "serve"]
