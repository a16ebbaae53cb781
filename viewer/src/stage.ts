/** The picture with its objects on a canvas: a frame is drawn only when something changed. */

import { area, drawBoxes, drawSkeleton, MaskLayer } from "./overlay";
import type { Picture } from "./picture";
import type { State, Store } from "./store";
import { Tags } from "./tags";
import type { Box, Found, Reply } from "./types";
import { Viewport } from "./viewport";

/** A part of the picture, sharper than the preview. */
export interface Patch {
  bitmap: ImageBitmap;
  frame: Box;
}

/** Fetch a part of the picture at its full resolution. */
export type FetchPatch = (reply: Reply, frame: Box) => Promise<Patch | undefined>;

const NEAR = 6; // CSS pixels around a small box that still mean it
const SETTLED = 250; // ms without movement before a sharper part is fetched
const MOST_RATIO = 2;

export class Stage {
  readonly view = new Viewport();
  fetchPatch: FetchPatch | undefined;
  private readonly context: CanvasRenderingContext2D;
  private readonly tags = new Tags();
  private readonly masks = new MaskLayer();
  private picture: Picture | undefined;
  private patch: Patch | undefined;
  private width = 1;
  private height = 1;
  private ratio = 1;
  private frame = 0;
  private version = 0;
  private settling: number | undefined;
  private flight = 0;
  private moved: (() => void)[] = [];

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly store: Store,
  ) {
    this.context = canvas.getContext("2d", { alpha: false })!;
    store.listen((state, changed) => this.follow(state, changed));
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  /** Call a listener whenever the view moves. */
  whenMoved(listener: () => void): void {
    this.moved.push(listener);
  }

  setPicture(picture: Picture | undefined): void {
    if (this.picture !== picture) this.picture?.close();
    this.picture = picture;
    this.dropPatch();
    this.redraw();
    this.settle();
  }

  get hasPicture(): boolean {
    return this.picture !== undefined;
  }

  /** Say that the view has moved: draw it, and fetch what is too coarse once it rests. */
  movedView(): void {
    this.redraw();
    this.settle();
    for (const listener of this.moved) listener();
  }

  redraw(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** Find the objects under a point of the canvas, smallest first. */
  under(x: number, y: number): Found[] {
    const [imageX, imageY] = this.view.toImage(x, y);
    const near = NEAR / this.view.scale;
    if (this.store.state.reply?.video) return [];
    return this.store.visible
      .filter(({ bbox }) => {
        const slackX = bbox[2] - bbox[0] < 2 * near ? near : 0;
        const slackY = bbox[3] - bbox[1] < 2 * near ? near : 0;
        return (
          imageX >= bbox[0] - slackX && imageX <= bbox[2] + slackX && imageY >= bbox[1] - slackY && imageY <= bbox[3] + slackY
        );
      })
      .sort((a, b) => area(a) - area(b));
  }

  /** Move to the selected object. */
  showSelected(): void {
    const { selected } = this.store;
    if (selected && !selected.span) this.show(selected.bbox);
  }

  /** Move so that a box is in the middle; at once where the person wants no motion. */
  private show(box: Box): void {
    const to = this.view.around(box);
    const from = { scale: this.view.scale, x: this.view.x, y: this.view.y };
    const flight = ++this.flight;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.view.moveTo(to.scale, to.x, to.y);
      this.movedView();
      return;
    }
    const start = performance.now();
    const step = (now: number) => {
      if (flight !== this.flight) return;
      const part = Math.min(1, Math.max(0, (now - start) / 220));
      const eased = 1 - (1 - part) ** 3;
      const between = (a: number, b: number) => a + (b - a) * eased;
      this.view.moveTo(between(from.scale, to.scale), between(from.x, to.x), between(from.y, to.y));
      this.movedView();
      if (part < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** End a movement that is under way. */
  halt(): void {
    this.flight++;
  }

  /** Paint the picture with its visible objects at the best size there is, for saving. */
  async png(): Promise<Blob> {
    const { reply } = this.store.state;
    if (!reply) throw new Error("there is no picture yet");
    const bitmap = this.picture?.full;
    const canvas = document.createElement("canvas");
    canvas.width = bitmap?.width ?? reply.width;
    canvas.height = bitmap?.height ?? reply.height;
    const context = canvas.getContext("2d", { alpha: false })!;
    if (bitmap) context.drawImage(bitmap, 0, 0);
    const scale = canvas.width / reply.width;
    const size = Math.max(1, Math.max(canvas.width, canvas.height) / 1200);
    context.scale(size, size);
    const view = { scale: scale / size, x: 0, y: 0 };
    this.drawObjects(context, view, canvas.width / size, canvas.height / size, new Tags(), size);
    const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/png"));
    if (!blob) throw new Error("the picture is too large to be saved here");
    return blob;
  }

  private follow(state: State, changed: ReadonlySet<keyof State>): void {
    if (changed.has("reply") && state.reply) {
      this.halt();
      this.view.setImage(state.reply.width, state.reply.height);
      this.dropPatch();
    }
    if (changed.has("reply") || changed.has("hidden") || changed.has("minScore")) this.version++;
    this.redraw();
  }

  private resize(): void {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = Math.min(MOST_RATIO, devicePixelRatio || 1);
    if (clientWidth === this.width && clientHeight === this.height && ratio === this.ratio) return;
    this.width = Math.max(1, clientWidth);
    this.height = Math.max(1, clientHeight);
    this.ratio = ratio;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.view.resize(this.width, this.height);
    this.draw(); // at once: a resized canvas is black until then
    this.settle();
  }

  private draw(): void {
    const { context, view, store } = this;
    const { reply } = store.state;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = getComputedStyle(this.canvas).backgroundColor;
    context.fillRect(0, 0, this.width, this.height);
    if (!reply) return;
    const frame = view.frame;
    this.drawPart(context, reply, frame);
    this.drawObjects(context, view, this.width, this.height, this.tags, this.ratio);
    this.mark(this.picture ? "picture" : "objects");
  }

  /** Note when something was first drawn, for whoever measures. */
  private mark(what: "objects" | "picture"): void {
    const name = `dinox:${what}`;
    if (!performance.getEntriesByName(name).length) performance.mark(name);
  }

  private drawPart(context: CanvasRenderingContext2D, reply: Reply, frame: Box): void {
    const { view } = this;
    if (frame[2] <= frame[0] || frame[3] <= frame[1]) return;
    const onScreen = (box: Box): Box => [
      box[0] * view.scale + view.x,
      box[1] * view.scale + view.y,
      box[2] * view.scale + view.x,
      box[3] * view.scale + view.y,
    ];
    const to = onScreen(frame);
    if (!this.picture) {
      context.fillStyle = "rgba(128, 128, 128, 0.18)";
      context.fillRect(to[0], to[1], to[2] - to[0], to[3] - to[1]);
      return;
    }
    this.picture.draw(context, reply.width, reply.height, frame, to);
    if (this.patch) {
      const [x1, y1, x2, y2] = onScreen(this.patch.frame);
      context.imageSmoothingEnabled = true;
      context.drawImage(this.patch.bitmap, x1, y1, x2 - x1, y2 - y1);
    }
  }

  private drawObjects(
    context: CanvasRenderingContext2D,
    view: { scale: number; x: number; y: number },
    width: number,
    height: number,
    tags: Tags,
    ratio: number,
  ): void {
    const { store } = this;
    const { reply, layers, selected, hovered } = store.state;
    if (!reply || reply.video) return; // a contact sheet has its objects drawn
    const { visible } = store;
    if (layers.has("masks") && store.state.masksLoaded) {
      const layer = this.masks.paint(reply, visible);
      context.imageSmoothingEnabled = true;
      if (layer) context.drawImage(layer, view.x, view.y, reply.width * view.scale, reply.height * view.scale);
    }
    if (layers.has("boxes")) drawBoxes(context, visible, view, width, height);
    if (layers.has("skeletons")) {
      for (const found of visible) {
        if (found.keypoints.length) drawSkeleton(context, found.keypoints, view);
      }
    }
    if (layers.has("tags")) {
      tags.place(visible, reply, view.scale, ratio, this.version);
      tags.draw(context, view, { width, height }, ratio, [selected, hovered]);
    }
    for (const found of visible) {
      if (found.id !== selected && found.id !== hovered) continue;
      this.highlight(context, found, view, found.id === selected);
      if (layers.has("tags")) {
        tags.drawOne(context, found, found.bbox[0] * view.scale + view.x - 1, found.bbox[1] * view.scale + view.y, ratio);
      }
    }
  }

  private highlight(
    context: CanvasRenderingContext2D,
    found: Found,
    view: { scale: number; x: number; y: number },
    selected: boolean,
  ): void {
    const [x1, y1, x2, y2] = found.bbox.map((edge, axis) => edge * view.scale + (axis % 2 ? view.y : view.x)) as Box;
    context.lineJoin = "round";
    for (const [line, color] of [
      [selected ? 7 : 5, "rgba(0, 0, 0, 0.6)"],
      [selected ? 4.5 : 3, "#fff"],
    ] as const) {
      context.lineWidth = line;
      context.strokeStyle = color;
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    drawBoxes(context, [found], view, Infinity, Infinity, 1);
  }

  /** Once the view rests, fetch the visible part where the preview has fewer pixels than the screen and the original more. */
  private settle(): void {
    clearTimeout(this.settling);
    const { reply } = this.store.state;
    const coarse = this.picture && reply && this.picture.full.width / reply.width;
    if (!this.fetchPatch || !coarse || coarse >= 1 || this.view.scale * this.ratio < 1.15 * coarse) {
      return;
    }
    this.settling = window.setTimeout(() => void this.sharpen(reply), SETTLED);
  }

  private async sharpen(reply: Reply): Promise<void> {
    const [x1, y1, x2, y2] = this.view.frame;
    const frame: Box = [Math.floor(x1), Math.floor(y1), Math.ceil(x2), Math.ceil(y2)];
    if (this.patch && contains(this.patch.frame, frame) && this.isSharp(this.patch)) return;
    const patch = await this.fetchPatch?.(reply, frame).catch(() => undefined);
    if (!patch) return;
    if (reply !== this.store.state.reply) {
      patch.bitmap.close();
      return;
    }
    this.dropPatch();
    this.patch = patch;
    this.redraw();
  }

  private isSharp({ bitmap, frame }: Patch): boolean {
    const detail = bitmap.width / (frame[2] - frame[0]);
    return detail >= Math.min(0.99, this.view.scale * this.ratio * 0.9);
  }

  private dropPatch(): void {
    this.patch?.bitmap.close();
    this.patch = undefined;
  }
}

function contains(outer: Box, inner: Box): boolean {
  return outer[0] <= inner[0] && outer[1] <= inner[1] && outer[2] >= inner[2] && outer[3] >= inner[3];
}
