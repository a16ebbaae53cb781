/** The picture at several sizes: drawing one near the screen's size is fast, and free of moiré. */

import type { Box } from "./types";

const SMALLEST = 600;

export class Picture {
  private constructor(private readonly levels: readonly ImageBitmap[]) {}

  /** Decode an encoded picture, off the main thread. */
  static async decode(data: Uint8Array<ArrayBuffer>, type: string): Promise<Picture> {
    const levels = [await createImageBitmap(new Blob([data], { type }))];
    for (let last = levels[0]!; Math.max(last.width, last.height) > 2 * SMALLEST; last = levels.at(-1)!) {
      const size = { resizeWidth: Math.ceil(last.width / 2), resizeHeight: Math.ceil(last.height / 2) };
      levels.push(await createImageBitmap(last, { ...size, resizeQuality: "medium" }));
    }
    return new Picture(levels);
  }

  /** The largest version: the original, or the preview that the host could carry. */
  get full(): ImageBitmap {
    return this.levels[0]!;
  }

  /** Draw the part `from` of the picture, which is `width` x `height` pixels large, into a rectangle of the canvas. */
  draw(context: CanvasRenderingContext2D, width: number, height: number, from: Box, to: Box): void {
    const wanted = ((to[2] - to[0]) / (from[2] - from[0])) * width * context.getTransform().a;
    const level = this.levels.findLast((bitmap) => bitmap.width >= wanted) ?? this.full;
    const x = level.width / width;
    const y = level.height / height;
    context.imageSmoothingEnabled = wanted < 8 * level.width;
    context.drawImage(
      level,
      from[0] * x,
      from[1] * y,
      (from[2] - from[0]) * x,
      (from[3] - from[1]) * y,
      to[0],
      to[1],
      to[2] - to[0],
      to[3] - to[1],
    );
  }

  close(): void {
    for (const level of this.levels) level.close();
  }
}
