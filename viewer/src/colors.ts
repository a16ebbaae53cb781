/** The colours of objects, those that `visualize` draws them in (see `dinox_mcp/drawing/style.py`). */

import shared from "./shared.json";
import type { Found } from "./types";

/** Colour objects by their labels, no two labels alike; where there is one label, by their numbers. */
export function paint(objects: Found[]): void {
  const names = [...new Set(objects.map((found) => plain(found.label)))].sort();
  const indices = new Map(names.map((name, index) => [name, index + 1]));
  for (const found of objects) {
    found.color = colorOfNumber(names.length > 1 ? indices.get(plain(found.label))! : found.id);
  }
}

/** The colour of a label in a reply; that of its first object. */
export function colorOf(label: string, objects: Found[]): string {
  return objects.find((found) => found.label === label)?.color ?? "rgb(128, 128, 128)";
}

/** Split a colour into red, green and blue. */
export function channels(color: string): [number, number, number] {
  const [red = 0, green = 0, blue = 0] = color.match(/\d+/g)?.map(Number) ?? [];
  return [red, green, blue];
}

/** The colour of an object or track by its number. */
export function colorOfNumber(number: number): string {
  const [red, green, blue] = shared.palette[(shared.step * number) % shared.palette.length]!;
  return `rgb(${red}, ${green}, ${blue})`;
}

function plain(label: string): string {
  return label.trim().toLowerCase();
}
