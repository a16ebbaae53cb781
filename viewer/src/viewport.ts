/** Which part of the picture is on screen: `scale` CSS pixels for one of the picture, its corner at (x, y). */

import type { Box } from "./types";

const MOST = 40;

export class Viewport {
  scale = 1;
  x = 0;
  y = 0;
  private width = 1;
  private height = 1;
  private imageWidth = 1;
  private imageHeight = 1;

  setImage(width: number, height: number): void {
    this.imageWidth = width;
    this.imageHeight = height;
    this.fit();
  }

  /** Follow a new size of the screen: a fitted picture stays fitted, otherwise the point in the middle stays there. */
  resize(width: number, height: number): void {
    const fitted = this.isFitted;
    const [x, y] = this.toImage(this.width / 2, this.height / 2);
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    if (fitted) this.fit();
    else {
      this.x = this.width / 2 - x * this.scale;
      this.y = this.height / 2 - y * this.scale;
      this.clamp();
    }
  }

  fit(): void {
    this.scale = this.least;
    this.x = (this.width - this.imageWidth * this.scale) / 2;
    this.y = (this.height - this.imageHeight * this.scale) / 2;
  }

  get isFitted(): boolean {
    return this.scale <= this.least * 1.001;
  }

  /** Zoom about a point of the screen, which keeps showing the same point of the picture. */
  zoom(factor: number, x = this.width / 2, y = this.height / 2): void {
    const scale = Math.min(Math.max(this.scale * factor, this.least), Math.max(MOST, this.least));
    const [imageX, imageY] = this.toImage(x, y);
    this.scale = scale;
    this.x = x - imageX * scale;
    this.y = y - imageY * scale;
    this.clamp();
  }

  pan(x: number, y: number): void {
    this.x += x;
    this.y += y;
    this.clamp();
  }

  /** Where `show` would go: a box in the middle, with space around it, never closer than eight screen pixels a pixel. */
  around([x1, y1, x2, y2]: Box): { scale: number; x: number; y: number } {
    const space = 0.6 * Math.min(this.width / Math.max(1, x2 - x1), this.height / Math.max(1, y2 - y1));
    const scale = Math.min(Math.max(space, this.least), Math.max(8, this.least));
    return {
      scale,
      x: this.width / 2 - ((x1 + x2) / 2) * scale,
      y: this.height / 2 - ((y1 + y2) / 2) * scale,
    };
  }

  moveTo(scale: number, x: number, y: number): void {
    this.scale = scale;
    this.x = x;
    this.y = y;
    this.clamp();
  }

  toImage(x: number, y: number): [number, number] {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  /** The part of the picture that is on screen, in its pixels. */
  get frame(): Box {
    const [x1, y1] = this.toImage(0, 0);
    const [x2, y2] = this.toImage(this.width, this.height);
    return [Math.max(0, x1), Math.max(0, y1), Math.min(this.imageWidth, x2), Math.min(this.imageHeight, y2)];
  }

  private get least(): number {
    return Math.min(this.width / this.imageWidth, this.height / this.imageHeight);
  }

  /** Keep the picture on screen: centred where it is smaller, without a gap where it is larger. */
  private clamp(): void {
    this.x = within(this.x, this.width, this.imageWidth * this.scale);
    this.y = within(this.y, this.height, this.imageHeight * this.scale);
  }
}

function within(offset: number, space: number, size: number): number {
  return size <= space ? (space - size) / 2 : Math.min(0, Math.max(space - size, offset));
}
