/** Tags beside boxes: painted once, placed anew only when the zoom or the objects change, so that panning is copying. */

import { channels, colorOf } from "./colors";
import { plain } from "./text";
import type { Found } from "./types";

const HEIGHT = 18;
const PAD = 5;
const FONT = '600 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const CELL = 64;

/** A tag in pixels of the zoomed picture. */
interface Placed {
  id: number;
  sprite: HTMLCanvasElement;
  x: number;
  y: number;
  width: number;
}

export class Tags {
  private readonly sprites = new Map<string, HTMLCanvasElement>();
  private placed: Placed[] = [];
  private key = "";

  /** Place the tags of `objects`, the first ones first; who would cover another is shortened to its number or left out. */
  place(objects: readonly Found[], scale: number, width: number, ratio: number, version: number): void {
    const key = `${scale} ${version} ${ratio}`;
    if (key === this.key) return;
    this.key = key;
    const taken = new Map<number, Placed[]>();
    this.placed = [];
    for (const found of objects) {
      const [x1, y1, x2, y2] = found.bbox.map((edge) => edge * scale) as [number, number, number, number];
      for (const text of [full(found), String(found.id)]) {
        const sprite = this.sprite(text, colorOf(found.label), ratio);
        const wide = sprite.width / ratio;
        const x = Math.min(x1 - 1, width * scale - wide);
        const spots = [y1 - HEIGHT, y1, y2 - HEIGHT].map((y) => ({ id: found.id, sprite, x, y: Math.max(0, y), width: wide }));
        // A tag is no larger than its object allows: a small box with long words would hide its neighbours.
        if (wide > Math.max(x2 - x1, 60) && text !== String(found.id)) continue;
        const free = spots.find((spot) => isFree(spot, taken));
        if (free) {
          occupy(free, taken);
          this.placed.push(free);
          break;
        }
      }
    }
  }

  draw(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number, ratio: number): void {
    for (const tag of this.placed) {
      const left = tag.x + x;
      const top = tag.y + y;
      if (left > width || top > height || left + tag.width < 0 || top + HEIGHT < 0) continue;
      context.drawImage(tag.sprite, Math.round(left * ratio) / ratio, Math.round(top * ratio) / ratio, tag.width, HEIGHT);
    }
  }

  /** Draw one tag in full, whatever it covers. */
  drawOne(context: CanvasRenderingContext2D, found: Found, x: number, y: number, ratio: number): void {
    const sprite = this.sprite(full(found), colorOf(found.label), ratio);
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

function* cells(tag: Placed): Generator<number> {
  for (let x = Math.floor(tag.x / CELL); x <= Math.floor((tag.x + tag.width) / CELL); x++) {
    for (let y = Math.floor(tag.y / CELL); y <= Math.floor((tag.y + HEIGHT) / CELL); y++) yield x * 100_003 + y;
  }
}

function isFree(tag: Placed, taken: Map<number, Placed[]>): boolean {
  for (const cell of cells(tag)) {
    for (const other of taken.get(cell) ?? []) {
      if (tag.x < other.x + other.width && other.x < tag.x + tag.width && Math.abs(tag.y - other.y) < HEIGHT) return false;
    }
  }
  return true;
}

function occupy(tag: Placed, taken: Map<number, Placed[]>): void {
  for (const cell of cells(tag)) {
    const there = taken.get(cell);
    if (there) there.push(tag);
    else taken.set(cell, [tag]);
  }
}
