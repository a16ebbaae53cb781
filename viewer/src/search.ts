/** The view of a search through many images: the contact sheet of the best, and the list of all that hold objects. */

import { element, make } from "./dom";
import type { Picture } from "./picture";
import { fields, number, string, strings, type Fields } from "./read";
import { percent, plain } from "./text";

/** Find the id of the job in the text of a reply of `search_images`. */
export function readJob(text: string): string | undefined {
  return [...text.matchAll(/Job: (\w+)$/gm)].at(-1)?.[1];
}

/** Show a search, `given` as its resource gives it. */
export function showSearch(given: Fields, sheet: Picture | undefined): void {
  const images = Array.isArray(given.images) ? given.images.map(fields).filter((image) => image !== undefined) : [];
  const [total, found, done] = [given.total, given.found, given.done].map((value) => number(value) ?? 0);
  element("detections").hidden = true;
  element("tools").hidden = true;
  element("search").hidden = false;
  element("heading").append(element("fullscreen"));
  element("title").textContent = `Objects in ${found} of ${countImages(total!)}`;
  element("found").replaceChildren(...images.map(item));
  const facts = [perLabel(given.counts)];
  if (done! < total!) facts.push(`Not finished: ${countImages(total! - done!)} left`);
  if (number(given.failed)) facts.push(`${countImages(number(given.failed)!)} without an answer`);
  facts.push(...strings(given.notes));
  element("search-facts").replaceChildren(...facts.filter(Boolean).map((fact) => make("p", {}, plain(fact, 300))));
  if (sheet) draw(sheet);
}

function item(image: Fields, index: number): HTMLElement {
  const scores = Object.values(fields(image.best) ?? {}).map((score) => number(score) ?? 0);
  return make(
    "li",
    {},
    make("span", { class: "number" }, String(index + 1)),
    make(
      "span",
      { class: "words" },
      plain((string(image.image) ?? "").split(/[/\\]/).at(-1) || "image", 60),
      make("span", { class: "said" }, ` ${perLabel(image.counts)}`),
    ),
    make("span", { class: "score" }, scores.length ? percent(Math.max(...scores)) : ""),
  );
}

function perLabel(counts: unknown): string {
  return Object.entries(fields(counts) ?? {}).map(([label, count]) => `${number(count) ?? 0} ${plain(label, 40)}`).join(", ");
}

function countImages(count: number): string {
  return count === 1 ? "1 image" : `${count} images`;
}

function draw({ full }: Picture): void {
  const canvas = element<HTMLCanvasElement>("sheet");
  canvas.width = full.width;
  canvas.height = full.height;
  canvas.getContext("2d")!.drawImage(full, 0, 0);
}
