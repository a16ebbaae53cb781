"""Where a track should be by now: a Kalman filter of constant velocity for the centre of a box.

As in SORT (Bewley et al. 2016) and DeepSORT, whose noise is in parts of the box's size, but for the irregular and long
steps between key frames: time is in seconds, and acceleration, not velocity, is what is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dinox_mcp.geometry import Box

_SEEN = 0.05  # standard deviation of a box's centre, in sizes of the box
_SPEED = 2.0  # of the first velocity, in sizes a second
_ACCELERATION = 1.5  # in sizes a second squared
_SIZE_GAIN = 0.6  # how much of a box's new size is believed


@dataclass(slots=True)
class Motion:
    """The state of one track: centre and size in pixels, velocity in pixels a second, at a time in seconds."""

    time: float
    center: tuple[float, float]
    size: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    _variance: tuple[float, float, float] = field(default=(_SEEN**2, 0.0, _SPEED**2))  # place, both, speed; in sizes

    @classmethod
    def at(cls, time: float, bbox: Sequence[float]) -> "Motion":
        """Begin where something is seen first, going nowhere."""
        return cls(time, _center(bbox), _size(bbox))

    def box(self, time: float) -> Box:
        """Predict the box at a time."""
        step = time - self.time
        x, y = (place + speed * step for place, speed in zip(self.center, self.velocity, strict=True))
        width, height = self.size
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    def see(self, time: float, bbox: Sequence[float]) -> None:
        """Learn from a box that was found at a later time."""
        step = time - self.time
        place, both, speed = self._variance
        noise = _ACCELERATION**2
        place += 2 * step * both + step**2 * speed + noise * step**4 / 4
        both += step * speed + noise * step**3 / 2
        speed += noise * step**2
        gain, turn = place / (place + _SEEN**2), both / (place + _SEEN**2)
        predicted = _center(self.box(time))
        missed = [seen - guess for seen, guess in zip(_center(bbox), predicted, strict=True)]
        self.center = predicted[0] + gain * missed[0], predicted[1] + gain * missed[1]
        self.velocity = self.velocity[0] + turn * missed[0], self.velocity[1] + turn * missed[1]
        self._variance = (1 - gain) * place, (1 - gain) * both, speed - turn * both
        width, height = (old + _SIZE_GAIN * (new - old) for old, new in zip(self.size, _size(bbox), strict=True))
        self.size = width, height
        self.time = time


def _center(bbox: Sequence[float]) -> tuple[float, float]:
    return (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2


def _size(bbox: Sequence[float]) -> tuple[float, float]:
    return max(1.0, bbox[2] - bbox[0]), max(1.0, bbox[3] - bbox[1])
