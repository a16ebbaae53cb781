/** Answers about videos: tracks as objects without a box, on the contact sheet of key frames. */

import { colorOfNumber } from "./colors";
import { make } from "./dom";
import { fields, number, readCounts, string, strings, type Fields } from "./read";
import { plain } from "./text";
import type { Found, Reply } from "./types";

/** Read `VideoResult` of `dinox_mcp/video/schema.py`, or a reply that is like it. */
export function readVideo(given: Fields): Reply | undefined {
  const video = fields(given.video);
  const tracks = (given.tracks as unknown[]).map(readTrack).filter((track) => track !== undefined);
  const id = string(given.result_id);
  if (!video || id === undefined) return undefined;
  const last = Math.max(0, ...tracks.map((track) => track.span?.last ?? 0));
  return {
    resultId: id,
    objects: tracks,
    counts: readCounts(given.counts, tracks),
    omitted: number(given.omitted) ?? 0,
    width: number(video.width) ?? 1600,
    height: number(video.height) ?? 900,
    source: string(video.source) ?? "",
    backend: string(given.backend) ?? "",
    model: string(given.model) ?? "",
    notes: strings(given.notes),
    video: { duration: number(video.duration_s) || last || 1, sheet: sheetOf(given) ?? `dinox://videos/${id}/sheet.jpg`, facts: peaks(given.peaks) },
  };
}

/** Write a time as m:ss.s, hours only where there are some. */
export function time(seconds: number): string {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

/** Draw when a track was seen as a bar on the video's length. */
export function bar(found: Found, duration: number): HTMLElement | undefined {
  if (!found.span) return undefined;
  const { first, last } = found.span;
  const mark = make("span");
  mark.style.left = `${Math.min(99, (100 * first) / duration)}%`;
  mark.style.width = `${Math.max(1, (100 * (last - first)) / duration)}%`;
  mark.style.background = found.color;
  return make("span", { class: "bar", "aria-hidden": "true" }, mark);
}

/** Say when a track was seen. */
export function spanOf({ span }: Found): string {
  return span ? `${time(span.first)} to ${time(span.last)}` : "";
}

function readTrack(value: unknown): Found | undefined {
  const given = fields(value);
  const first = number(given?.first_s);
  const last = number(given?.last_s);
  const id = number(given?.id);
  if (!given || id === undefined || first === undefined || last === undefined) return undefined;
  return {
    id,
    label: string(given.label) ?? "object",
    color: colorOfNumber(id),
    score: number(given.score),
    bbox: [0, 0, 0, 0],
    text: string(given.text),
    caption: string(given.caption),
    category: string(given.category),
    keypoints: [],
    span: {
      first,
      last,
      seen: number(given.seen) ?? 0,
      direction: string(fields(given.path)?.direction) ?? string(given.direction) ?? "",
    },
  };
}

/** The contact sheet's resource: whichever link of the reply names it. */
function sheetOf(given: Fields): string | undefined {
  const links = Object.entries(fields(given.links) ?? {});
  const found = links.find(([name, uri]) => /sheet/.test(name) || /sheet[^/]*\.jpg$/.test(String(uri)));
  return string(found?.[1]);
}

function peaks(value: unknown): string[] {
  const parts = Object.entries(fields(value) ?? {}).map(([label, peak]) => {
    const { count, time_s: at } = fields(peak) ?? {};
    return `at most ${number(count) ?? 0} ${plain(label, 40)} at ${time(number(at) ?? 0)}`;
  });
  return parts.length ? [parts.slice(0, 8).join(", ")] : [];
}
