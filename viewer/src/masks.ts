/** Masks from COCO run-length encoding to what a canvas can draw, at the size of the layer that they are drawn on. */

import type { Rle } from "./types";

/** A mask as vertical segments, three numbers each: column, first row, row after the last; in layer pixels. */
export interface Segments {
  at: Int32Array;
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Decode the runs of a compressed COCO string; background first, column by column. */
export function decodeRuns(counts: string): number[] {
  const runs: number[] = [];
  for (let index = 0; index < counts.length; ) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more && index < counts.length) {
      const code = counts.charCodeAt(index++) - 48;
      value |= (code & 0x1f) << shift;
      more = (code & 0x20) !== 0;
      shift += 5;
      if (!more && code & 0x10) value |= -1 << shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2]!;
    runs.push(value);
  }
  return runs;
}

/** Sample a mask at the pixel centres of a layer of `width` x `height`. */
export function segmentsOf(mask: Rle, width: number, height: number): Segments {
  const [rows, columns] = mask.size;
  const found: number[] = [];
  let left = width, right = 0, top = height, bottom = 0, position = 0;
  const add = (column: number, from: number, to: number) => {
    // Layer columns whose centre lies in this source column, and rows likewise.
    const firstRow = Math.max(0, Math.ceil((from * height) / rows - 0.5));
    const lastRow = Math.min(height, Math.ceil((to * height) / rows - 0.5));
    if (firstRow >= lastRow) return;
    const lastColumn = Math.min(width, Math.ceil(((column + 1) * width) / columns - 0.5));
    for (let x = Math.max(0, Math.ceil((column * width) / columns - 0.5)); x < lastColumn; x++) {
      found.push(x, firstRow, lastRow);
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, firstRow);
      bottom = Math.max(bottom, lastRow);
    }
  };
  decodeRuns(mask.counts).forEach((run, index) => {
    const end = Math.min(position + Math.max(0, run), rows * columns);
    if (index % 2) {
      for (let start = position; start < end; ) {
        const column = Math.floor(start / rows);
        const stop = Math.min(end, (column + 1) * rows);
        add(column, start - column * rows, stop - column * rows);
        start = stop;
      }
    }
    position = end;
  });
  const empty = left >= right;
  return {
    at: Int32Array.from(found),
    left: empty ? 0 : left,
    top: empty ? 0 : top,
    width: empty ? 0 : right - left,
    height: empty ? 0 : bottom - top,
  };
}

/** Paint a mask on a canvas of its own: its inside at `opacity`, its outline strongly; nothing where it is empty. */
export function paintMask(
  { at, left, top, width, height }: Segments,
  color: [number, number, number],
  opacity: number,
): HTMLCanvasElement | undefined {
  if (!width || !height) return undefined;
  const stride = width + 2;
  const inside = new Uint8Array(stride * (height + 2)); // with a margin, so that every pixel has neighbours
  for (let index = 0; index < at.length; index += 3) {
    const start = (at[index + 1]! - top + 1) * stride + at[index]! - left + 1;
    const rows = at[index + 2]! - at[index + 1]!;
    for (let row = 0, cell = start; row < rows; row++, cell += stride) inside[cell] = 1;
  }
  const pixels = new ImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  const [full, edge] = [opacity, Math.max(opacity, 0.85)].map((alpha) => word(color, alpha)) as [number, number];
  for (let y = 0; y < height; y++) {
    for (let x = 0, cell = (y + 1) * stride + 1; x < width; x++, cell++) {
      if (!inside[cell]) continue;
      const inner = inside[cell - 1]! & inside[cell + 1]! & inside[cell - stride]! & inside[cell + stride]!;
      words[y * width + x] = inner ? full : edge;
    }
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return canvas;
}

/** A pixel as the machine keeps it. */
function word([red, green, blue]: [number, number, number], alpha: number): number {
  return new Uint32Array(Uint8Array.of(red, green, blue, Math.round(255 * alpha)).buffer)[0]!;
}
