/** The view of a comparison: the first image mapped onto the second, a divider between them, and the list of changes. */

import { ABSENT, describeChange, summary, type Change, type Comparison, type SideName } from "./changes";
import { dot, element, make } from "./dom";
import type { Picture } from "./picture";
import { percent, plain } from "./text";

const SIDES: SideName[] = ["before", "after"];
/** Pixels of the long side of a canvas: enough for a large screen, and two fit into the memory of a phone. */
const LARGEST = 4096;
const STEP = 2;
/** How much a change is enlarged at most, and the share of the stage that it then fills. */
const HIGHEST_ZOOM = 12;
const SHARE = 0.5;
/** Pixels that a pointer moves before a press is a drag. */
const STILL = 4;

export class ComparisonView {
  private readonly stage = element("compared");
  private readonly scene = element("scene");
  private readonly divider = element("divider");
  private readonly list = element("changes");
  private readonly layers: { side: SideName; layer: HTMLElement }[] = [];
  private readonly canvases = new Map<SideName, HTMLCanvasElement>();
  private readonly zoomButton = element<HTMLButtonElement>("zoom-change");
  private selected: Change | undefined;
  private zoomed = false;
  private at = 50;

  constructor(private readonly comparison: Comparison) {
    element("detections").hidden = true;
    element("tools").hidden = true;
    element("comparison").hidden = false;
    this.stage.append(element("message"));
    element("heading").append(element("fullscreen"));
    const names = SIDES.map((side) => plain(nameOf(comparison[side].source), 60) || side);
    document.title = plain(names.join(" → "), 120);
    element("title").textContent = summary(comparison.changes);
    element("comparison-facts").replaceChildren(...[names.join(" → "), ...comparison.facts].map((fact) => make("p", {}, plain(fact, 300))));
    for (const side of SIDES) this.addSide(side);
    this.list.replaceChildren(...comparison.changes.map((change) => this.item(change)));
    this.listen();
    new ResizeObserver(() => this.arrange()).observe(this.stage);
    this.moveDivider(this.at);
  }

  setImage(side: SideName, picture: Picture): void {
    const { width, height } = this.comparison[side];
    const scale = Math.min(1, LARGEST / Math.max(picture.full.width, picture.full.height));
    const canvas = this.canvases.get(side)!;
    canvas.width = Math.round(picture.full.width * scale);
    canvas.height = Math.round(picture.full.height * scale);
    const context = canvas.getContext("2d")!;
    picture.draw(context, width, height, [0, 0, width, height], [0, 0, canvas.width, canvas.height]);
    picture.close();
  }

  /** Add an image with the outlines of its changes, and above both images a layer for the outlines of one change. */
  private addSide(side: SideName): void {
    const canvas = make("canvas", { "aria-hidden": "true" });
    this.canvases.set(side, canvas);
    const layer = make("div", { class: "layer" }, canvas);
    const marks = make("div", { class: "layer marks" });
    for (const change of this.comparison.changes) {
      layer.append(this.outline(change, side, "outline"));
      marks.append(this.outline(change, side, "mark"));
    }
    this.layers.push({ side, layer }, { side, layer: marks });
    element(side).prepend(layer);
    this.divider.before(marks);
  }

  private outline(change: Change, side: SideName, name: string): HTMLElement {
    const [x1, y1, x2, y2] = change.boxes[side];
    const { width, height } = this.comparison[side];
    const made = make("div", { class: `${name} ${ABSENT[change.kind] === side ? "absent" : ""}`, "data-change": String(change.id) });
    made.append(make("span", {}, String(change.id)));
    made.hidden = x2 <= x1 || y2 <= y1; // it lies outside of this image
    made.style.left = `${(100 * x1) / width}%`;
    made.style.top = `${(100 * y1) / height}%`;
    made.style.width = `${(100 * (x2 - x1)) / width}%`;
    made.style.height = `${(100 * (y2 - y1)) / height}%`;
    made.style.setProperty("--kind", change.color);
    return made;
  }

  private item(change: Change): HTMLElement {
    const { title, said } = describeChange(change);
    return make(
      "li",
      {
        id: `change-${change.id}`,
        role: "option",
        "aria-selected": "false",
        "data-change": String(change.id),
        pointerenter: () => this.hover(change.id),
        click: () => this.select(change),
        dblclick: () => this.zoom(true),
      },
      make("span", { class: "number" }, String(change.id)),
      " ",
      dot(change.color),
      make("span", { class: "words" }, title, said ? make("span", { class: "said" }, ` ${said}`) : undefined),
      " ",
      make("span", { class: "score" }, change.score === undefined ? "" : percent(change.score)),
    );
  }

  /** Fit the second image into the stage, and map the first onto it. */
  private arrange(): void {
    const { before, after, homography } = this.comparison;
    const { clientWidth, clientHeight } = this.stage;
    const scale = Math.min(clientWidth / after.width, clientHeight / after.height);
    const size = [after.width * scale, after.height * scale];
    this.scene.style.width = `${size[0]}px`;
    this.scene.style.height = `${size[1]}px`;
    // Each layer is as large as the second image on screen, so that outlines keep their width.
    const across = before.width / size[0]!;
    const down = before.height / size[1]!;
    const [a, b, c, d, e, f, g, h, i] = homography.map((cell, index) => cell * [across, down, 1][index % 3]!) as Nine;
    const columns = [a * scale, d * scale, 0, g, b * scale, e * scale, 0, h, 0, 0, 1, 0, c * scale, f * scale, 0, i];
    const zoom = this.zoomTransform(size[0]!, size[1]!, scale);
    for (const { side, layer } of this.layers) {
      layer.style.transform = side === "before" ? `${zoom} matrix3d(${columns.join(", ")})` : zoom;
    }
  }

  /** Enlarge the selected change, but never show more than the image. */
  private zoomTransform(width: number, height: number, scale: number): string {
    const [x1, y1, x2, y2] = (this.zoomed && this.selected?.boxes.after) || [0, 0, 0, 0];
    const inside = x2 > x1 && y2 > y1;
    const fit = Math.min(width / (x2 - x1), height / (y2 - y1)) / scale;
    const by = inside ? Math.max(1, Math.min(HIGHEST_ZOOM, SHARE * fit)) : 1;
    const start = (size: number, center: number) => Math.max(size - by * size, Math.min(0, size / 2 - by * center * scale));
    this.scene.style.setProperty("--zoom", String(by));
    return `translate(${start(width, (x1 + x2) / 2)}px, ${start(height, (y1 + y2) / 2)}px) scale(${by})`;
  }

  private zoom(on: boolean): void {
    this.zoomed = on && this.selected !== undefined;
    this.zoomButton.setAttribute("aria-pressed", String(this.zoomed));
    this.arrange();
  }

  private listen(): void {
    this.listenToPointer();
    this.divider.addEventListener("keydown", (event) => {
      const steps: Record<string, number> = {
        ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -10, PageUp: 10, Home: -100, End: 100,
      };
      const step = steps[event.key];
      if (step === undefined) return;
      event.preventDefault();
      this.moveDivider(this.at + step);
    });
    this.zoomButton.addEventListener("click", () => this.zoom(!this.zoomed));
    this.list.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.zoom(!this.zoomed);
      const { changes } = this.comparison;
      const now = this.selected ? changes.indexOf(this.selected) : -1;
      const indices: Record<string, number> = { ArrowDown: now + 1, ArrowUp: Math.max(0, now - 1), Home: 0, End: changes.length - 1, Escape: -1 };
      const index = indices[event.key];
      if (index === undefined) return;
      event.preventDefault();
      this.select(changes[Math.min(index, changes.length - 1)]);
    });
    this.list.addEventListener("pointerleave", () => this.hover(undefined));
  }

  /** A drag moves the divider; a press without one selects the change there, or moves the divider there. */
  private listenToPointer(): void {
    let start: number | undefined;
    let dragged = false;
    this.scene.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.scene.setPointerCapture(event.pointerId);
      [start, dragged] = [event.clientX, event.target === this.divider];
    });
    this.scene.addEventListener("pointermove", (event) => {
      if (start === undefined) return this.hover(changeAt(event));
      dragged ||= Math.abs(event.clientX - start) > STILL;
      if (dragged) this.follow(event);
    });
    this.scene.addEventListener("pointerup", (event) => {
      if (start !== undefined && !dragged) {
        const id = changeAt(event);
        if (id === undefined) this.follow(event);
        else this.select(this.comparison.changes.find((change) => change.id === id));
      }
      start = undefined;
    });
    this.scene.addEventListener("pointercancel", () => (start = undefined));
    this.scene.addEventListener("pointerleave", () => this.hover(undefined));
  }

  private follow({ clientX }: PointerEvent): void {
    const { left, width } = this.scene.getBoundingClientRect();
    this.moveDivider((100 * (clientX - left)) / width);
  }

  private moveDivider(at: number): void {
    this.at = Math.max(0, Math.min(100, at));
    this.scene.style.setProperty("--at", `${this.at}%`);
    const share = Math.round(this.at);
    this.divider.setAttribute("aria-valuenow", String(share));
    this.divider.setAttribute("aria-valuetext", `${share} % before, ${100 - share} % after`);
  }

  private hover(id: number | undefined): void {
    this.flag("hovered", id);
  }

  private select(change: Change | undefined): void {
    this.selected = change;
    this.zoomButton.disabled = !change;
    this.zoom(this.zoomed);
    this.flag("selected", change?.id);
    for (const item of this.list.children) item.setAttribute("aria-selected", String(item.id === `change-${change?.id}`));
    const item = change && element(`change-${change.id}`);
    if (!item) {
      this.list.removeAttribute("aria-activedescendant");
      return;
    }
    this.list.setAttribute("aria-activedescendant", item.id);
    // Not scrollIntoView: it would scroll the chat around this page, too.
    const { offsetTop, offsetHeight } = item;
    const { scrollTop, clientHeight } = this.list;
    this.list.scrollTop = Math.min(offsetTop, Math.max(scrollTop, offsetTop + offsetHeight - clientHeight));
  }

  /** Give a class to what shows a change: its line in the list, and its outlines in both images. */
  private flag(name: string, id: number | undefined): void {
    for (const made of element("comparison").querySelectorAll<HTMLElement>("[data-change]")) {
      made.classList.toggle(name, made.dataset.change === String(id));
    }
  }
}

type Nine = [number, number, number, number, number, number, number, number, number];

/** Find the smallest change below a pointer. */
function changeAt({ clientX, clientY }: PointerEvent): number | undefined {
  const area = (outline: Element) => {
    const { width, height } = outline.getBoundingClientRect();
    return width * height;
  };
  const outlines = document.elementsFromPoint(clientX, clientY).filter((one) => one.classList.contains("outline"));
  const [smallest] = outlines.sort((one, other) => area(one) - area(other)) as HTMLElement[];
  return smallest && Number(smallest.dataset.change);
}

function nameOf(source: string): string {
  return source.startsWith("data:") ? "" : source.split(/[/\\]/).at(-1) ?? "";
}
