"""How smoothly the page moves: the picture is dragged about while frames and the processor's time are counted."""

from pathlib import Path
from typing import NamedTuple

from tests.viewer.hosting import Shown

FRAMES = 120
PAN = """async (canvas, frames) => {
  const { x, y } = canvas.getBoundingClientRect();
  let at = [x + 400, y + 280];
  const send = (type) => canvas.dispatchEvent(
    new PointerEvent(type, { pointerId: 1, clientX: at[0], clientY: at[1], pointerType: "mouse", bubbles: true }));
  canvas.setPointerCapture = () => {}; // there is no such pointer
  send("pointerdown");
  const times = [];
  for (let frame = 0; frame < frames; frame++) {
    at = [at[0] + (frame % 60 < 30 ? 5 : -5), at[1] + (frame % 40 < 20 ? 3 : -3)];
    send("pointermove");
    times.push(await new Promise(requestAnimationFrame));
  }
  send("pointerup");
  return times.slice(1).map((time, place) => time - times[place]);
}"""


def _used() -> dict[tuple[str, str], float]:
    """Processor seconds of every thread of the browser."""
    used = {}
    for file in Path("/proc").glob("[0-9]*/task/*/stat"):
        try:
            if b"chrom" not in (Path("/proc") / file.parts[2] / "cmdline").read_bytes():
                continue
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        used[file.parts[2], file.parts[4]] = (int(fields[11]) + int(fields[12])) / 100
    return used


class Panning(NamedTuple):
    """Median time between frames, and what the busiest thread worked for each, both in milliseconds."""

    gap: float
    work: float


def pan(shown: Shown) -> Panning:
    """Drag the picture about; Linux only."""
    before = _used()
    gaps = sorted(shown.frame.locator("#canvas").evaluate(PAN, FRAMES))
    after = _used()
    work = max(seconds - before.get(thread, 0) for thread, seconds in after.items())
    return Panning(gaps[len(gaps) // 2], 1000 * work / FRAMES)
