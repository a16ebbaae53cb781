/** The colour of a label, the one that `visualize` draws it in. */

import { blake2s32 } from "./blake2s";
import shared from "./shared.json";

const salt = Uint8Array.from(shared.salt);
const known = new Map<string, string>();

/** Pick the colour of a label as CSS; case and surrounding space make no difference. */
export function colorOf(label: string): string {
  let color = known.get(label);
  if (color === undefined) {
    const name = label.trim().toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ").normalize("NFC");
    const [red, green, blue] = shared.palette[blake2s32(new TextEncoder().encode(name), salt) % shared.palette.length]!;
    color = `rgb(${red}, ${green}, ${blue})`;
    known.set(label, color);
  }
  return color;
}

/** Split a colour of `colorOf` into red, green and blue. */
export function channels(color: string): [number, number, number] {
  const [red = 0, green = 0, blue = 0] = color.match(/\d+/g)?.map(Number) ?? [];
  return [red, green, blue];
}
