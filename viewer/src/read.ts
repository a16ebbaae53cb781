/** From whatever arrives to values that the page trusts: the shapes of a tool's reply and of a stored result alike. */

import { paint } from "./colors";
import type { Box, Found, Keypoint, Reply, Rle } from "./types";
import { readVideo } from "./video";

export type Fields = Record<string, unknown>;

/** Read a reply of a detection tool, or a result as its resource gives it; undefined when it is neither. */
export function readReply(value: unknown): Reply | undefined {
  const given = fields(value);
  if (given && Array.isArray(given.tracks)) return readVideo(given);
  const image = fields(given?.image);
  const width = number(image?.width);
  const height = number(image?.height);
  if (!given || !Array.isArray(given.objects) || !width || !height || typeof given.result_id !== "string") {
    return undefined;
  }
  const objects = given.objects.map(readObject).filter((found) => found !== undefined);
  paint(objects);
  return {
    resultId: given.result_id,
    objects,
    counts: readCounts(given.counts, objects),
    omitted: number(given.omitted) ?? 0,
    width,
    height,
    source: string(image?.source) ?? "",
    backend: string(given.backend) ?? "",
    model: string(given.model) ?? "",
    notes: strings(given.notes),
  };
}

/** Find the resource that has the objects which a reply itself has not, by the id or the address that it names. */
export function readResource(structured: unknown, text: string): string | undefined {
  const id = string(fields(structured)?.result_id) ?? [...text.matchAll(/Result id: (\w+)/g)].at(-1)?.[1];
  if (id === undefined || !/^\w+$/.test(id)) return undefined;
  const kind = text.includes(`dinox://videos/${id}`) ? "videos" : "results";
  return `dinox://${kind}/${id}`;
}

/** Give the value as fields, when it is an object. */
export function fields(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

export function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

export function string(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

export function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((member) => typeof member === "string") : [];
}

function readObject(value: unknown, index: number): Found | undefined {
  const given = fields(value);
  const bbox = given?.bbox;
  if (!given || !Array.isArray(bbox) || bbox.length !== 4 || bbox.some((edge) => number(edge) === undefined)) {
    return undefined;
  }
  return {
    id: number(given.id) ?? index + 1,
    label: string(given.label) ?? "object",
    color: "",
    score: number(given.score),
    bbox: bbox as Box,
    text: string(given.text),
    caption: string(given.caption),
    category: string(given.category),
    maskArea: number(given.mask_area),
    mask: readMask(given.mask),
    keypoints: readKeypoints(given.keypoints),
  };
}

function readMask(value: unknown): Rle | undefined {
  const given = fields(value);
  const size = given?.size;
  if (!Array.isArray(size) || size.length !== 2 || !number(size[0]) || !number(size[1])) return undefined;
  return typeof given?.counts === "string" ? { size: size as [number, number], counts: given.counts } : undefined;
}

/** Read keypoints as results have them, a list, or as replies do, [x, y, score] by name. */
function readKeypoints(value: unknown): Keypoint[] {
  const list = Array.isArray(value)
    ? value
    : Object.entries(fields(value) ?? {}).map(([name, at]) => {
        const [x, y, score] = Array.isArray(at) ? (at as unknown[]) : [];
        return { name, x, y, score };
      });
  return list.map(readKeypoint).filter((point) => point !== undefined);
}

function readKeypoint(value: unknown): Keypoint | undefined {
  const given = fields(value);
  const x = number(given?.x);
  const y = number(given?.y);
  if (x === undefined || y === undefined) return undefined;
  return {
    name: string(given?.name) ?? "point",
    x,
    y,
    visibility: number(given?.visibility),
    score: number(given?.score),
  };
}

export function readCounts(value: unknown, objects: Found[]): Record<string, number> {
  const given = fields(value);
  const counts = new Map<string, number>();
  for (const [label, count] of Object.entries(given ?? {})) counts.set(label, number(count) ?? 0);
  if (!given) for (const found of objects) counts.set(found.label, (counts.get(found.label) ?? 0) + 1);
  return Object.fromEntries(counts);
}
