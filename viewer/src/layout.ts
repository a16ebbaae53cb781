/** How large the page is: as large as the host gives, or as high as the picture needs. */

import { element } from "./dom";

const NARROW = 640;
const PANEL = 300;
const HIGHEST = 620;
const LOWEST = 380;

/** The space that the host gives the page. */
export interface Space {
  /** The page has a window of its own, or a fixed height: it fills it. */
  fills: boolean;
  maxHeight: number | undefined;
}

interface Size {
  width: number;
  height: number;
}

/** Keep the layout right for the width there is; `resized` is called with the height that the page needs. */
export class Layout {
  private readonly root = element("viewer");
  private space: Space = { fills: true, maxHeight: undefined };
  private image: Size | undefined;
  private height = 0;

  constructor(private readonly resized: (height: number) => void) {
    new ResizeObserver(() => this.arrange()).observe(document.documentElement);
    this.arrange();
  }

  setSpace(space: Space): void {
    this.space = space;
    this.arrange();
  }

  /** Lay out for an image of this size. */
  setImage(image: Size): void {
    this.image = image;
    this.arrange();
  }

  private arrange(): void {
    const width = document.documentElement.clientWidth;
    const narrow = width < NARROW;
    this.root.classList.toggle("narrow", narrow);
    const shape = this.image ? this.image.height / this.image.width : 0.66;
    if (this.space.fills) {
      this.root.style.removeProperty("--height");
      // A wide picture leaves space for the list below it.
      const most = 0.5 * document.documentElement.clientHeight;
      this.root.style.setProperty("--stage", `${Math.max(160, Math.min(most, width * shape))}px`);
      return;
    }
    const stage = narrow ? Math.min(width * shape, 420) : (width - PANEL) * shape;
    const wanted = narrow ? Math.max(180, stage) + 380 : Math.max(LOWEST, Math.min(HIGHEST, stage + 50));
    const height = Math.round(Math.min(wanted, this.space.maxHeight ?? Infinity));
    this.root.style.setProperty("--height", `${height}px`);
    this.root.style.setProperty("--stage", `${Math.max(140, Math.min(stage, height * 0.5))}px`);
    if (height !== this.height) {
      this.height = height;
      this.resized(height);
    }
  }
}
