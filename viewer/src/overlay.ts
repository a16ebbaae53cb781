/** What is drawn on the picture: masks, boxes, skeletons. */

import { channels } from "./colors";
import { paintMask, segmentsOf } from "./masks";
import shared from "./shared.json";
import type { Found, Keypoint, Reply } from "./types";

const LAYER_SIDE = 1600;
const MOST_PIXELS = 24_000_000; // of all masks together: four bytes each are kept
const OPACITY = 0.4;
const HALO = "rgba(0, 0, 0, 0.45)";
const MIDDLE = "rgb(245, 245, 245)";
const BONES = [...shared.body, ...shared.hand] as [string, string][];

/** All visible masks on one canvas, put together when the objects change and only copied when the view moves. */
export class MaskLayer {
  private readonly canvas = document.createElement("canvas");
  private readonly stamps = new Map<Found, Stamp>();
  private shown: readonly Found[] | undefined;
  private reply: Reply | undefined;

  /** Give the canvas with the masks of `objects`, or nothing where there are none. */
  paint(reply: Reply, objects: readonly Found[]): HTMLCanvasElement | undefined {
    if (reply !== this.reply) this.start(reply);
    const masked = objects.filter((found) => found.mask);
    if (objects !== this.shown) {
      this.shown = objects;
      const context = this.canvas.getContext("2d")!;
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      // Large ones first, so that small ones lie on top.
      for (const found of masked.toSorted((a, b) => area(b) - area(a))) {
        const { sprite, left, top } = this.stamp(found);
        if (sprite) context.drawImage(sprite, left, top);
      }
    }
    return masked.length ? this.canvas : undefined;
  }

  private start(reply: Reply): void {
    this.reply = reply;
    this.shown = undefined;
    this.stamps.clear();
    const side = Math.min(LAYER_SIDE, Math.max(reply.width, reply.height));
    const fit = side / Math.max(reply.width, reply.height);
    const all = reply.objects.reduce((sum, found) => sum + (found.mask ? area(found) : 0), 0);
    const scale = Math.min(fit, Math.sqrt(MOST_PIXELS / Math.max(1, all)));
    this.canvas.width = Math.max(1, Math.round(reply.width * scale));
    this.canvas.height = Math.max(1, Math.round(reply.height * scale));
  }

  private stamp(found: Found): Stamp {
    let stamp = this.stamps.get(found);
    if (!stamp) {
      const segments = segmentsOf(found.mask!, this.canvas.width, this.canvas.height);
      stamp = { sprite: paintMask(segments, channels(found.color), OPACITY), left: segments.left, top: segments.top };
      this.stamps.set(found, stamp);
    }
    return stamp;
  }
}

/** One mask, painted, and where it lies on the layer. */
interface Stamp {
  sprite: HTMLCanvasElement | undefined;
  left: number;
  top: number;
}

export function area(found: Found): number {
  const [x1, y1, x2, y2] = found.bbox;
  return Math.max(0, x2 - x1) * Math.max(0, y2 - y1);
}

/** Stroke boxes: a dark halo under the colour, so that they stand out on any picture. */
export function drawBoxes(
  context: CanvasRenderingContext2D,
  objects: readonly Found[],
  view: { scale: number; x: number; y: number },
  width: number,
  height: number,
  line = 2,
): void {
  context.lineJoin = "miter";
  for (const found of objects) {
    const x = found.bbox[0] * view.scale + view.x;
    const y = found.bbox[1] * view.scale + view.y;
    const wide = (found.bbox[2] - found.bbox[0]) * view.scale;
    const high = (found.bbox[3] - found.bbox[1]) * view.scale;
    if (x > width || y > height || x + wide < 0 || y + high < 0) continue;
    context.lineWidth = line + 2;
    context.strokeStyle = HALO;
    context.strokeRect(x, y, wide, high); // one by one: canvases have a fast way for a rectangle, and none for a path
    context.lineWidth = line;
    context.strokeStyle = found.color;
    context.strokeRect(x, y, wide, high);
  }
}

/** Draw bones and joints: left and right in different colours, hidden joints hollow, absent ones not at all. */
export function drawSkeleton(
  context: CanvasRenderingContext2D,
  points: readonly Keypoint[],
  view: { scale: number; x: number; y: number },
): void {
  const named = new Map(points.filter((point) => visibility(point) > 0).map((point) => [point.name, point]));
  const at = (point: Keypoint): [number, number] => [point.x * view.scale + view.x, point.y * view.scale + view.y];
  const size = thickness([...named.values()], view.scale);
  const rim = size > 1 ? 1.5 : 0;
  context.lineCap = "round";
  for (const [from, to] of BONES) {
    const a = named.get(from);
    const b = named.get(to);
    if (!a || !b) continue;
    context.beginPath();
    context.moveTo(...at(a));
    context.lineTo(...at(b));
    if (rim) {
      context.lineWidth = size + rim;
      context.strokeStyle = "rgba(0, 0, 0, 0.5)";
      context.stroke();
    }
    context.lineWidth = size;
    context.strokeStyle = boneColor(from, to);
    context.stroke();
  }
  if (!rim) return; // too small for points
  for (const point of named.values()) {
    context.beginPath();
    context.arc(...at(point), 1.2 * size, 0, 2 * Math.PI);
    context.lineWidth = Math.min(1.5, 0.5 * size);
    context.fillStyle = visibility(point) === 1 ? "rgba(0, 0, 0, 0.55)" : colorOfPoint(point.name);
    context.fill();
    context.strokeStyle = visibility(point) === 1 ? colorOfPoint(point.name) : "rgba(0, 0, 0, 0.7)";
    context.stroke();
  }
}

/** How thick bones are on screen: in proportion to the body, between what can be seen and what would hide it. */
function thickness(points: readonly Keypoint[], scale: number): number {
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const size = scale * Math.hypot(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
  return Math.max(1, Math.min(4, 0.013 * size));
}

/** Judge a point as `dinox_mcp/keypoints.py` does: 0 not there, 1 hidden, 2 seen. */
export function visibility(point: Keypoint): number {
  if (point.score !== undefined && point.score < shared.leastPointScore) return 0;
  return point.visibility ?? 2;
}

/** The colour of a point: one for the person's left, one for the right, and one for each finger of a hand. */
function colorOfPoint(name: string): string {
  if (name.startsWith("left_")) return css(shared.left);
  if (name.startsWith("right_")) return css(shared.right);
  const finger = (shared.fingers as Record<string, number[]>)[name.slice(0, Math.max(0, name.lastIndexOf("_")))];
  return finger ? css(finger) : MIDDLE;
}

function boneColor(from: string, to: string): string {
  const a = colorOfPoint(from);
  const b = colorOfPoint(to);
  return a === MIDDLE || a === b ? b : MIDDLE;
}

function css([red, green, blue]: number[]): string {
  return `rgb(${red}, ${green}, ${blue})`;
}
