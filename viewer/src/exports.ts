/** What is shown, as files: COCO JSON as `dinox_mcp/coco.py` writes it, and CSV for spreadsheets. */

import { area, visibility } from "./overlay";
import shared from "./shared.json";
import type { Found, Keypoint, Reply } from "./types";

const COLUMNS = "id,label,score,x_min,y_min,x_max,y_max,mask_area,text,caption,category,keypoints";

export function toCoco(reply: Reply, objects: readonly Found[]): string {
  const labels = [...new Set(objects.map((found) => found.label))];
  const posed = new Set(objects.filter((found) => bodyOf(found).length).map((found) => found.label));
  const dataset = {
    info: { description: `Result ${reply.resultId} of ${reply.backend} (${reply.model}) by dinox-mcp` },
    licenses: [],
    images: [{ id: 1, file_name: reply.source, width: reply.width, height: reply.height }],
    categories: labels.map((name, index) => ({
      id: index + 1,
      name,
      ...(posed.has(name) && { keypoints: shared.bodyPoints, skeleton: skeleton() }),
    })),
    annotations: objects.map((found) => annotation(found, labels.indexOf(found.label) + 1, posed.has(found.label))),
  };
  return JSON.stringify(dataset, null, 1);
}

/** Tracks of a video as a table. */
export function tracksToCsv(tracks: readonly Found[]): string {
  const rows = tracks.map(({ id, label, score, span, text, caption, category }) =>
    [id, label, score, span?.first, span?.last, span?.seen, span?.direction, text, caption, category].map(cell).join(","),
  );
  return ["id,label,score,first_s,last_s,key_frames,direction,text,caption,category", ...rows, ""].join("\r\n");
}

export function toCsv(objects: readonly Found[]): string {
  const rows = objects.map((found) =>
    [
      found.id,
      found.label,
      found.score,
      ...found.bbox,
      found.maskArea,
      found.text,
      found.caption,
      found.category,
      found.keypoints.map((point) => `${point.name} ${point.x} ${point.y}`).join("; "),
    ]
      .map(cell)
      .join(","),
  );
  return [COLUMNS, ...rows, ""].join("\r\n");
}

/** Quote a cell; what a spreadsheet would run as a formula is made text. */
function cell(value: string | number | undefined): string {
  if (typeof value !== "string") return value === undefined ? "" : String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function annotation(found: Found, category: number, posed: boolean): Record<string, unknown> {
  const [x1, y1, x2, y2] = found.bbox;
  return {
    id: found.id,
    image_id: 1,
    category_id: category,
    bbox: [x1, y1, round(x2 - x1), round(y2 - y1)],
    area: found.maskArea ?? round(area(found)),
    iscrowd: 0,
    segmentation: found.mask,
    score: found.score,
    ...(posed && pose(found)),
    caption: found.caption,
    category: found.category,
    text: found.text,
    points: found.keypoints.length ? found.keypoints : undefined,
  };
}

/** The points of a body in COCO's order, or none where one is missing. */
function bodyOf(found: Found): Keypoint[] {
  const named = new Map(found.keypoints.map((point) => [point.name, point]));
  const body = shared.bodyPoints.flatMap((name) => named.get(name) ?? []);
  return body.length === shared.bodyPoints.length ? body : [];
}

/** A pose as COCO has it: x, y, visibility for each point, zeros where there is none. */
function pose(found: Found): Record<string, unknown> {
  const body = bodyOf(found);
  const seen = body.filter((point) => visibility(point));
  const points = body.flatMap((point) => (visibility(point) ? [point.x, point.y, visibility(point)] : [0, 0, 0]));
  return {
    keypoints: points.length ? points : Array.from({ length: 3 * shared.bodyPoints.length }, () => 0),
    num_keypoints: seen.length,
  };
}

function skeleton(): number[][] {
  return shared.body.map((bone) => bone.map((name) => shared.bodyPoints.indexOf(name) + 1));
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
