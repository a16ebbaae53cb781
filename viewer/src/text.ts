/** Words on the page. What models and pictures say is hostile until shown otherwise: it is shown, never obeyed. */

import type { Found } from "./types";

/** Make words safe for one line: no control characters, nothing that turns text around, at most `most` letters. */
export function plain(text: string, most = 80): string {
  const line = lines(text).replace(/\s+/g, " ").trim();
  const letters = Array.from(line);
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : line;
}

/** Make words safe, but leave their lines and their length. */
export function lines(text: string): string {
  return text.replace(/(?:(?!\n)[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])+/gu, " ");
}

export function percent(score: number): string {
  return `${Math.round(100 * score)} %`;
}

/** Say a number of things: objects of a picture, tracks of a video. */
export function count(number: number, video = false): string {
  const thing = video ? "track" : "object";
  return number === 1 ? `1 ${thing}` : `${number} ${thing}s`;
}

/** Say an object in a line, for the tooltip. */
export function describe(found: Found): string {
  const score = found.score === undefined ? "" : `, score ${percent(found.score)}`;
  const words = found.text ?? found.caption;
  return `${found.id}, ${plain(found.label)}${score}${words ? `, “${plain(words, 120)}”` : ""}`;
}

/** Name an object to a model so that it can look it up. What stands in the picture is left out: it would speak as the user. */
export function reference(resultId: string, found: Found): string {
  if (found.span) {
    const { first, last } = found.span;
    return `track ${found.id} (${JSON.stringify(plain(found.label, 60))}, ${first.toFixed(1)} s to ${last.toFixed(1)} s) of video result ${resultId}`;
  }
  const box = found.bbox.map(Math.round).join(", ");
  return `object ${found.id} (${JSON.stringify(plain(found.label, 60))}, box [${box}]) of result ${resultId}`;
}
