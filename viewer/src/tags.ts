/** Tags beside boxes: painted once, placed anew only when the zoom or the objects change, so that panning is copying. */

import { channels } from "./colors";
import { plain } from "./text";
import type { Found } from "./types";

const HEIGHT = 18;
const PAD = 5;
const FONT = '600 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const CELL = 64;
const LOW = 3 * HEIGHT;

/** A rectangle in pixels of the zoomed picture. */
interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

interface Placed extends Rectangle {
  id: number;
  sprite: HTMLCanvasElement;
}

export class Tags {
  private readonly sprites = new Map<string, HTMLCanvasElement>();
  private placed: Placed[] = [];
  private key = "";

  /** Place the tags of `objects`, the first ones first; who would cover another is shortened to its number or left out. */
  place(
    objects: readonly Found[],
    { width, height }: { width: number; height: number },
    scale: number,
    ratio: number,
    version: number,
  ): void {
    const key = `${scale} ${version} ${ratio}`;
    if (key === this.key) return;
    this.key = key;
    this.placed = [];
    const taken = new Grid();
    const boxes = objects.map(({ bbox: [x1, y1, x2, y2] }) => ({
      x: x1 * scale,
      y: y1 * scale,
      width: (x2 - x1) * scale,
      height: (y2 - y1) * scale,
    }));
    // Lines of text and the like would be unreadable under a tag.
    for (const box of boxes) if (box.height < LOW && box.width > box.height) taken.add(box);
    objects.forEach((found, index) => {
      const box = boxes[index]!;
      for (const short of [false, true]) {
        const text = short ? String(found.id) : full(found);
        const sprite = this.sprite(text, found.color, ratio);
        const wide = sprite.width / ratio;
        // A tag is no longer than its object, within reason: a small box with long words would hide its neighbours.
        if (!short && wide > Math.max(box.width, 60)) continue;
        const spots = spotsOf(box, wide, short).filter((spot) => isIn(spot, width * scale, height * scale));
        const free = spots.find((spot) => taken.isFree(spot));
        if (!free) continue;
        taken.add(free);
        this.placed.push({ ...free, id: found.id, sprite });
        return;
      }
    });
  }

  /** Draw the placed tags, but not those of objects that are shown in full. */
  draw(
    context: CanvasRenderingContext2D,
    { x, y }: { x: number; y: number },
    { width, height }: { width: number; height: number },
    ratio: number,
    inFull: readonly (number | undefined)[],
  ): void {
    for (const tag of this.placed) {
      if (inFull.includes(tag.id)) continue;
      const left = tag.x + x;
      const top = tag.y + y;
      if (left > width || top > height || left + tag.width < 0 || top + HEIGHT < 0) continue;
      context.drawImage(tag.sprite, Math.round(left * ratio) / ratio, Math.round(top * ratio) / ratio, tag.width, HEIGHT);
    }
  }

  /** Draw one tag in full, whatever it covers. */
  drawOne(context: CanvasRenderingContext2D, found: Found, x: number, y: number, ratio: number): void {
    const sprite = this.sprite(full(found), found.color, ratio);
    context.drawImage(sprite, x, Math.max(0, y - HEIGHT), sprite.width / ratio, HEIGHT);
  }

  private sprite(text: string, color: string, ratio: number): HTMLCanvasElement {
    const key = `${ratio} ${color} ${text}`;
    let sprite = this.sprites.get(key);
    if (!sprite) {
      sprite = paintTag(text, color, ratio);
      this.sprites.set(key, sprite);
    }
    return sprite;
  }
}

function full(found: Found): string {
  const score = found.score === undefined ? "" : ` ${found.score.toFixed(2)}`;
  return `${found.id} ${plain(found.label, 28)}${score}`;
}

function paintTag(text: string, color: string, ratio: number): HTMLCanvasElement {
  const sprite = document.createElement("canvas");
  const context = sprite.getContext("2d")!;
  context.font = FONT;
  const width = Math.ceil(context.measureText(text).width) + 2 * PAD;
  sprite.width = Math.ceil(width * ratio);
  sprite.height = Math.ceil(HEIGHT * ratio);
  context.scale(ratio, ratio);
  context.fillStyle = color;
  context.beginPath();
  context.roundRect(0, 0, width, HEIGHT, 3);
  context.fill();
  context.font = FONT;
  context.textBaseline = "middle";
  context.fillStyle = inkOn(color);
  context.fillText(text, PAD, HEIGHT / 2 + 0.5);
  return sprite;
}

/** Black or white, whichever reads better: by relative luminance, as WCAG 2 has it. */
function inkOn(color: string): string {
  const [red, green, blue] = channels(color).map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#101010" : "#fff";
}

/** Where a tag may stand: above, below; a short one beside; inside where that leaves the object to be seen. */
function spotsOf(box: Rectangle, width: number, short: boolean): Rectangle[] {
  const { x, y } = box;
  const middle = y + (box.height - HEIGHT) / 2;
  const spots: [number, number][] = [
    [x - 1, y - HEIGHT - 1],
    [x - 1, y + box.height + 1],
  ];
  if (short) spots.push([x + box.width + 2, middle], [x - width - 2, middle]);
  if (box.height >= LOW) spots.push([x - 1, y], [x - 1, y + box.height - HEIGHT]);
  return spots.map(([left, top]) => ({ x: left, y: top, width, height: HEIGHT }));
}

function isIn(spot: Rectangle, width: number, height: number): boolean {
  return spot.x >= -2 && spot.y >= 0 && spot.x + spot.width <= width + 2 && spot.y + spot.height <= height;
}

/** Rectangles that are taken, found by the cells that they lie in. */
class Grid {
  private readonly cells = new Map<number, Rectangle[]>();

  isFree(wanted: Rectangle): boolean {
    for (const cell of this.under(wanted)) {
      for (const other of this.cells.get(cell) ?? []) {
        const beside = wanted.x >= other.x + other.width || other.x >= wanted.x + wanted.width;
        if (!beside && wanted.y < other.y + other.height && other.y < wanted.y + wanted.height) return false;
      }
    }
    return true;
  }

  add(rectangle: Rectangle): void {
    for (const cell of this.under(rectangle)) {
      const there = this.cells.get(cell);
      if (there) there.push(rectangle);
      else this.cells.set(cell, [rectangle]);
    }
  }

  private *under({ x, y, width, height }: Rectangle): Generator<number> {
    for (let column = Math.floor(x / CELL); column <= Math.floor((x + width) / CELL); column++) {
      for (let row = Math.floor(y / CELL); row <= Math.floor((y + height) / CELL); row++) yield column * 100_003 + row;
    }
  }
}
