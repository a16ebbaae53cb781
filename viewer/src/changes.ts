/** A comparison of two images: the values of `dinox_mcp/compare/comparison.py`, as far as the page needs them. */

import { colorOfNumber } from "./colors";
import { fields, number, string, strings, type Fields } from "./read";
import { percent, plain } from "./text";
import type { Box } from "./types";

export type SideName = "before" | "after";

/** Something that differs, with its box in each image. */
export interface Change {
  id: number;
  kind: string;
  /** As CSS; the colour of its kind. */
  color: string;
  label: string | undefined;
  boxes: Record<SideName, Box>;
  texts: Record<SideName, string | undefined>;
  score: number | undefined;
  shift: [number, number] | undefined;
}

/** One of the two images, with the size of the original. */
export interface Side {
  resultId: string;
  width: number;
  height: number;
  source: string;
}

export interface Comparison {
  before: Side;
  after: Side;
  /** The 3 x 3 matrix, row by row, that maps pixels of the first image to pixels of the second. */
  homography: number[];
  changes: Change[];
  facts: string[];
}

/** In which image of a change nothing is there. */
export const ABSENT: Record<string, SideName> = { appeared: "before", disappeared: "after" };

/** The kinds in the order in which `dinox_mcp/compare/run.py` gives them colours. */
const KINDS = ["appeared", "changed", "disappeared", "moved", "text changed"];

/** Read a comparison as its resource gives it; undefined when it is not one. */
export function readComparison(value: unknown): Comparison | undefined {
  const given = fields(value);
  const before = readSide(given?.before);
  const after = readSide(given?.after);
  const homography = numbers(given?.homography, 9);
  if (!given || !before || !after || !homography || !Array.isArray(given.changes)) return undefined;
  const changes = given.changes.map(readChange).filter((change) => change !== undefined);
  return { before, after, homography, changes, facts: readFacts(given) };
}

/** Write what happened in a change, for the list. */
export function describeChange({ kind, label, texts, shift }: Change): { title: string; said: string } {
  const read = [...new Set([texts.before, texts.after])].filter((text) => text !== undefined);
  const [right, down] = shift ?? [0, 0];
  const moved = shift ? `${Math.abs(right).toFixed(0)} px ${right < 0 ? "left" : "right"}, ${Math.abs(down).toFixed(0)} px ${down < 0 ? "up" : "down"}` : "";
  return {
    title: label === "text" && kind === "text changed" ? kind : `${plain(label ?? "part of the image", 60)} ${plain(kind)}`,
    said: [read.map((text) => `“${plain(text, 60)}”`).join(" → "), moved].filter(Boolean).join(", "),
  };
}

/** Count the changes of each kind. */
export function summary(changes: Change[]): string {
  const counts = new Map<string, number>();
  for (const { kind } of changes) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, count]) => `${count} ${plain(kind)}`).join(", ") || "No change";
}

function readSide(value: unknown): Side | undefined {
  const given = fields(value);
  const image = fields(given?.image);
  const [resultId, width, height] = [string(given?.result_id), number(image?.width), number(image?.height)];
  if (!resultId || !width || !height) return undefined;
  return { resultId, width, height, source: string(image?.source) ?? "" };
}

function readChange(value: unknown, index: number): Change | undefined {
  const given = fields(value);
  const before = numbers(given?.before, 4);
  const after = numbers(given?.after, 4);
  if (!given || !before || !after) return undefined;
  const kind = string(given.kind) ?? "changed";
  return {
    id: number(given.id) ?? index + 1,
    kind,
    color: colorOfNumber(KINDS.indexOf(kind) + 1),
    label: string(given.label),
    boxes: { before: before as Box, after: after as Box },
    texts: { before: string(given.text_before), after: string(given.text_after) },
    score: number(given.score),
    shift: numbers(given.shift, 2) as [number, number] | undefined,
  };
}

function readFacts(given: Fields): string[] {
  const unchanged = Object.entries(fields(given.unchanged) ?? {}).map(([label, count]) => `${number(count) ?? 0} ${plain(label)}`);
  const camera = given.registered === "homography" ? "The camera moved" : "The camera did not move";
  const facts = [`${camera}; ${percent(number(given.agreement) ?? 0)} of the details agree`];
  if (unchanged.length) facts.push(`Unchanged: ${unchanged.join(", ")}`);
  if (number(given.omitted)) facts.push(`${number(given.omitted)} more changes are not shown`);
  return [...facts, ...strings(given.notes)];
}

function numbers(value: unknown, length: number): number[] | undefined {
  const all = Array.isArray(value) && value.length === length && value.every((one) => number(one) !== undefined);
  return all ? (value as number[]) : undefined;
}
