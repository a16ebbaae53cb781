/** Texts on the page. Texts of models and pictures may be hostile: they are shown, never obeyed. */

import type { Found } from "./types";

/** Make a text safe for one line: no control characters, no marks that reverse text, at most `most` letters. */
export function plain(text: string, most = 80): string {
  const line = lines(text).replace(/\s+/g, " ").trim();
  const letters = Array.from(line);
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : line;
}

/** Make a text safe, but keep its lines and its length. */
export function lines(text: string): string {
  return text.replace(/(?:(?!\n)[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])+/gu, " ");
}

export function percent(score: number): string {
  return `${Math.round(100 * score)} %`;
}

/** Write a number of objects, or of tracks of a video. */
export function count(number: number, video = false): string {
  const thing = video ? "track" : "object";
  return number === 1 ? `1 ${thing}` : `${number} ${thing}s`;
}

/** Describe an object in one line, for the tooltip. */
export function describe(found: Found): string {
  const score = found.score === undefined ? "" : `, score ${percent(found.score)}`;
  const words = found.text ?? found.caption;
  return `${found.id}, ${plain(found.label)}${score}${words ? `, “${plain(words, 120)}”` : ""}`;
}

/** Name an object to a model so that it can look it up. Text from the picture is left out: the model would take it for the user's. */
export function reference(resultId: string, found: Found): string {
  if (found.span) {
    const { first, last } = found.span;
    return `track ${found.id} (${JSON.stringify(plain(found.label, 60))}, ${first.toFixed(1)} s to ${last.toFixed(1)} s) of video result ${resultId}`;
  }
  const box = found.bbox.map(Math.round).join(", ");
  return `object ${found.id} (${JSON.stringify(plain(found.label, 60))}, box [${box}]) of result ${resultId}`;
}
