/** The page: one result at a time, from an MCP host or carried along, shown by the parts beside this file. */

import { connect, type AppHost, type Listener } from "./app";
import { readComparison, type Comparison } from "./changes";
import { ComparisonView } from "./comparison";
import { showDetail, type Actions } from "./detail";
import { element, make } from "./dom";
import { readEmbedded } from "./embedded";
import { toCoco, toCsv, tracksToCsv } from "./exports";
import { showFilters } from "./filters";
import { listen } from "./gestures";
import type { Host } from "./host";
import { Layout } from "./layout";
import { showList } from "./list";
import type { Picture } from "./picture";
import { fields, readReply, readResource, string } from "./read";
import { readJob, showSearch } from "./search";
import { Stage } from "./stage";
import { Store, type Layer } from "./store";
import { count, plain, reference } from "./text";
import type { Found, Reply } from "./types";
import { time } from "./video";

declare const VERSION: string;

const LAYERS: [Layer, string][] = [
  ["boxes", "Boxes"],
  ["masks", "Masks"],
  ["skeletons", "Skeletons"],
  ["tags", "Tags"],
];

class Page {
  private readonly store = new Store();
  private readonly stage: Stage;
  private readonly layout: Layout;
  private readonly earlier: Reply[] = [];
  private readonly actions: Actions;
  private host: Host | undefined;
  private app: AppHost | undefined;
  private hiding: number | undefined;

  constructor() {
    const canvas = element<HTMLCanvasElement>("canvas");
    this.layout = new Layout((height) => this.app?.resized(height));
    this.stage = new Stage(canvas, this.store);
    this.actions = {
      host: undefined,
      findSimilar: (reply, found) => void this.findSimilar(reply, found),
      say: (message) => this.say(message),
    };
    showFilters(this.store);
    showDetail(this.store, this.stage, this.actions);
    showList(this.store, this.stage);
    listen(canvas, element("tip"), this.stage, this.store);
    this.showTools();
  }

  start(): void {
    const embedded = readEmbedded();
    if (!embedded) {
      void this.startInHost();
      return;
    }
    this.setHost(embedded.host);
    if (embedded.comparison) {
      void this.compare(embedded.comparison);
      return;
    }
    const [first] = embedded.replies;
    if (!first) this.say("This page carries no result.", true);
    else void this.show(first);
    if (embedded.replies.length > 1) this.showPicker(embedded.replies);
  }

  private async startInHost(): Promise<void> {
    const listener: Listener = {
      requested: (given) => this.say(given.before && given.after ? "Comparing the images …" : `Looking for ${whatFor(given)} …`, true),
      replied: (structured, text, image) => void this.answer(structured, text, image),
      failed: (reason) => this.say(plain(reason, 300), true),
      contextChanged: ({ displayMode, containerDimensions }) => {
        const given = containerDimensions ?? {};
        const fixed = "height" in given;
        const maxHeight = "maxHeight" in given ? given.maxHeight : undefined;
        this.layout.setSpace({ fills: displayMode === "fullscreen" || fixed, maxHeight });
      },
    };
    try {
      this.layout.setSpace({ fills: false, maxHeight: undefined });
      this.app = await connect(VERSION, listener);
      this.setHost(this.app);
    } catch (error) {
      this.say(`No host answers: ${error instanceof Error ? error.message : error}`, true);
    }
  }

  private setHost(host: Host): void {
    this.host = host;
    this.actions.host = host;
    this.stage.fetchPatch = host.fetchPatch;
    element("fullscreen").hidden = !host.toggleFullscreen;
  }

  /** Show what a tool answered; where its reply has no objects of its own, those of the result that it names. */
  private async answer(structured: unknown, text: string, image: () => Promise<Picture | undefined>): Promise<void> {
    const id = string(fields(structured)?.comparison_id);
    if (id !== undefined) return this.answerComparison(id);
    const job = structured === undefined ? readJob(text) : undefined;
    if (job !== undefined) return this.answerSearch(job, await image());
    let reply = readReply(structured);
    const uri = readResource(structured, text);
    if (!reply && uri) reply = readReply(await this.stored(uri));
    if (reply) await this.show(reply);
    else this.say("This answer has nothing to show.", true);
  }

  /** Show a comparison; how the images fit onto each other is only in its resource. */
  private async answerComparison(id: string): Promise<void> {
    const comparison = /^\w+$/.test(id) ? readComparison(await this.stored(`dinox://comparisons/${id}`)) : undefined;
    if (comparison) return this.compare(comparison);
    element("title").textContent = "Comparison";
    this.say("The images did not come through: this host limits what a page may read. The changes are in the answer.", true);
  }

  private async answerSearch(job: string, sheet: Picture | undefined): Promise<void> {
    const found = fields(await this.stored(`dinox://jobs/${job}`));
    this.say("");
    if (found) {
      showSearch(found, sheet);
      if (sheet) this.layout.setImage(sheet.full);
    } else this.say("This host limits what a page may read: what was found is in the answer.", true);
  }

  private async compare(comparison: Comparison): Promise<void> {
    this.say("");
    const view = new ComparisonView(comparison);
    this.layout.setImage(comparison.after);
    const show = async (side: "before" | "after"): Promise<void> => {
      const picture = await this.host?.picture(comparison[side]);
      if (picture) view.setImage(side, picture);
    };
    try {
      await Promise.all([show("before"), show("after")]);
      performance.mark("dinox:comparison");
    } catch (error) {
      this.say(`The images are not there any more: ${plain(error instanceof Error ? error.message : String(error), 200)}`, true);
    }
  }

  private async stored(uri: string): Promise<unknown> {
    try {
      await this.connected();
      return await this.host?.result(uri);
    } catch {
      return undefined;
    }
  }

  private async show(reply: Reply): Promise<void> {
    this.stage.setPicture(undefined);
    const hasMasks = reply.objects.some((found) => found.mask);
    this.store.set({ reply, hidden: new Set(), minScore: 0, selected: undefined, hovered: undefined, masksLoaded: hasMasks });
    this.layout.setImage(reply);
    document.title = reply.source ? plain(nameOf(reply), 100) : "Detection viewer";
    this.say("");
    this.describe(reply);
    await this.connected();
    await Promise.all([this.loadPicture(reply), hasMasks ? undefined : this.loadMasks(reply)]);
  }

  /** A reply may come before the host has finished greeting. */
  private async connected(): Promise<void> {
    while (!this.host) await new Promise((done) => setTimeout(done, 20));
  }

  private async loadPicture(reply: Reply): Promise<void> {
    try {
      const picture = await this.host?.picture(reply);
      if (reply !== this.store.state.reply) picture?.close();
      else if (picture) {
        if (reply.video) this.sizeToSheet(reply, picture);
        this.stage.setPicture(picture);
      }
      else this.say("This host lets no picture through: the objects are shown where they are.", true);
    } catch (error) {
      if (reply === this.store.state.reply) {
        this.say(`The picture is not there any more: ${plain(error instanceof Error ? error.message : String(error), 200)}`, true);
      }
    }
  }

  /** A video's picture is its contact sheet, whose size only the sheet itself tells. */
  private sizeToSheet(reply: Reply, { full }: Picture): void {
    reply.width = full.width;
    reply.height = full.height;
    this.stage.view.setImage(full.width, full.height);
    this.layout.setImage(reply);
  }

  private async loadMasks(reply: Reply): Promise<void> {
    if (!reply.objects.some((found) => found.maskArea)) return;
    const complete = readReply(await this.stored(`dinox://results/${reply.resultId}`));
    if (reply !== this.store.state.reply) return;
    if (!complete) {
      this.say("The masks did not come through: this host limits how much a page may read.");
      return;
    }
    const masks = new Map(complete.objects.map((found) => [found.id, found.mask]));
    for (const found of reply.objects) found.mask = masks.get(found.id);
    this.store.set({ masksLoaded: true });
  }

  private describe(reply: Reply): void {
    const drawn = reply.objects.length > 0 && !reply.video;
    const has: Record<Layer, boolean> = {
      boxes: drawn,
      tags: drawn,
      masks: reply.objects.some((found) => found.mask ?? found.maskArea),
      skeletons: reply.objects.some((found) => found.keypoints.length),
    };
    for (const [layer] of LAYERS) element(`layer-${layer}`).hidden = !has[layer];
    const canvas = element("canvas");
    canvas.setAttribute("aria-label", `Picture, ${reply.width} by ${reply.height} pixels, with ${count(reply.objects.length, reply.video !== undefined)}`);
    const size = reply.video ? `${time(reply.video.duration)} of video` : `${reply.width} × ${reply.height} px`;
    const facts = [`${size}, ${reply.backend} ${reply.model}`, ...(reply.video?.facts ?? []), ...reply.notes];
    element("layers").hidden = !Object.values(has).some(Boolean);
    element("save-coco").hidden = reply.video !== undefined;
    element("facts").replaceChildren(...facts.map((fact) => make("p", {}, plain(fact, 300))));
    element("back").hidden = this.earlier.length === 0;
  }

  private async findSimilar(reply: Reply, found: Found): Promise<void> {
    const { host } = this;
    try {
      if (host?.findSimilar) {
        this.say("Looking for more like this …", true);
        const similar = readReply(await host.findSimilar(reply, found));
        if (!similar) throw new Error("the answer has no objects");
        this.earlier.push(reply);
        await this.show(similar);
        this.say(similar.objects.length ? "" : "Nothing like it was found");
      } else if (host?.ask) {
        await host.ask(`Find more like ${reference(reply.resultId, found)} with detect_by_example.`);
        this.say("Asked in the chat");
      }
    } catch (error) {
      this.say(plain(error instanceof Error ? error.message : String(error), 300));
    }
  }

  private showTools(): void {
    for (const [layer, name] of LAYERS) {
      const button = make("button", { id: `layer-${layer}`, "aria-pressed": "true", click: () => this.store.toggleLayer(layer) }, name);
      element("layers").append(button);
    }
    this.store.listen(({ layers }, changed) => {
      if (!changed.has("layers")) return;
      for (const [layer] of LAYERS) element(`layer-${layer}`).setAttribute("aria-pressed", String(layers.has(layer)));
    });
    const zoom = (act: () => void) => () => {
      this.stage.halt();
      act();
      this.stage.movedView();
    };
    element("zoom-in").addEventListener("click", zoom(() => this.stage.view.zoom(1.5)));
    element("zoom-out").addEventListener("click", zoom(() => this.stage.view.zoom(1 / 1.5)));
    element("zoom-fit").addEventListener("click", zoom(() => this.stage.view.fit()));
    element("fullscreen").addEventListener("click", () => void this.host?.toggleFullscreen?.().catch(() => undefined));
    element("back").addEventListener("click", () => {
      const reply = this.earlier.pop();
      if (reply) void this.show(reply);
    });
    this.showSaving();
  }

  private showSaving(): void {
    const menu = element<HTMLDetailsElement>("save");
    for (const button of menu.querySelectorAll<HTMLButtonElement>("[data-save]")) {
      button.addEventListener("click", () => {
        menu.open = false;
        void this.save(button.dataset.save ?? "");
      });
    }
    document.addEventListener("pointerdown", (event) => {
      if (!menu.contains(event.target as Node)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      menu.open = false;
      menu.querySelector("summary")?.focus();
    });
  }

  private async save(kind: string): Promise<void> {
    const { reply } = this.store.state;
    if (!reply || !this.host) return;
    const name = `dinox-${reply.resultId}`;
    try {
      const [file, ending] =
        kind === "png"
          ? [await this.stage.png(), "png"]
          : kind === "coco"
            ? [new Blob([toCoco(reply, this.store.visible)], { type: "application/json" }), "coco.json"]
            : [new Blob([(reply.video ? tracksToCsv : toCsv)(this.store.visible)], { type: "text/csv" }), "csv"];
      this.say(await this.host.save(`${name}.${ending}`, file));
    } catch (error) {
      this.say(`Not saved: ${plain(error instanceof Error ? error.message : String(error), 200)}`);
    }
  }

  private showPicker(replies: Reply[]): void {
    const select = element<HTMLSelectElement>("pictures");
    select.append(...replies.map((reply, index) => make("option", { value: String(index) }, `${index + 1}. ${plain(nameOf(reply), 60)}`)));
    select.addEventListener("change", () => void this.show(replies[Number(select.value)]!));
    element("picker").hidden = false;
  }

  /** Show a message over the picture; it disappears after some seconds, unless it stays. */
  private say(message: string, stays = false): void {
    const box = element("message");
    clearTimeout(this.hiding);
    box.textContent = message;
    box.hidden = !message;
    if (message && !stays) this.hiding = window.setTimeout(() => (box.hidden = true), 4000);
  }
}

function whatFor({ prompts, examples, description, caption }: Record<string, unknown>): string {
  const words = Array.isArray(prompts) ? prompts.filter((prompt) => typeof prompt === "string").join(", ") : prompts ?? description ?? caption;
  if (typeof words === "string" && words) return plain(words, 120);
  return examples ? "more like the examples" : "what there is";
}

function nameOf(reply: Reply): string {
  return reply.source.startsWith("data:") ? "picture" : reply.source.split(/[/\\]/).at(-1) || "picture";
}

new Page().start();
