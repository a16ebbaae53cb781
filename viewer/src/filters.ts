/** The score slider and the labels: what is shown, and how many there are of each. */

import { colorOf } from "./colors";
import { dot, element, make } from "./dom";
import type { State, Store } from "./store";
import { count, percent, plain } from "./text";
import type { Reply } from "./types";

/** Build the filters anew for each reply and keep their numbers true. */
export function showFilters(store: Store): void {
  const slider = element<HTMLInputElement>("score");
  const value = element("score-value");
  const counts = new Map<string, HTMLElement>();
  const chips = new Map<string, HTMLElement>();

  slider.addEventListener("input", () => store.set({ minScore: Number(slider.value) / 100 }));
  store.listen((state, changed) => {
    if (changed.has("reply") && state.reply) build(state.reply);
    if (changed.has("reply") || changed.has("hidden") || changed.has("minScore")) refresh(state);
  });

  function build(reply: Reply): void {
    const scores = reply.objects.flatMap((found) => found.score ?? []);
    const least = Math.floor(100 * Math.min(...scores));
    element("score-row").hidden = scores.length === 0;
    slider.min = String(scores.length ? least : 0);
    slider.max = "100";
    slider.value = slider.min;
    counts.clear();
    chips.clear();
    const labels = Object.keys(reply.counts).concat(reply.objects.map((found) => found.label));
    element("labels").replaceChildren(...[...new Set(labels)].map(chip));
  }

  function chip(label: string): HTMLElement {
    const passing = make("span", { class: "count" });
    const made = make(
      "button",
      { "aria-pressed": "true", click: () => store.toggleLabel(label), dblclick: () => only(label), title: "Double-click: only this" },
      dot(colorOf(label, store.state.reply?.objects ?? [])),
      make("span", { class: "name" }, plain(label, 40)),
      " ",
      passing,
    );
    counts.set(label, passing);
    chips.set(label, made);
    return made;
  }

  function only(label: string): void {
    store.set({ hidden: new Set([...chips.keys()].filter((other) => other !== label)) });
  }

  function refresh({ reply, hidden, minScore }: State): void {
    if (!reply) return;
    value.textContent = percent(Math.max(minScore, Number(slider.min) / 100));
    slider.setAttribute("aria-valuetext", value.textContent);
    const passing = new Map<string, number>();
    for (const found of reply.objects) {
      if (found.score === undefined || found.score >= minScore) passing.set(found.label, (passing.get(found.label) ?? 0) + 1);
    }
    for (const [label, cell] of counts) {
      cell.textContent = String(passing.get(label) ?? 0);
      chips.get(label)!.setAttribute("aria-pressed", String(!hidden.has(label)));
    }
    sayCounts(store, reply);
  }
}

function sayCounts(store: Store, reply: Reply): void {
  const all = reply.objects.length;
  const shown = store.visible.length;
  const total = count(all, reply.video !== undefined);
  const some = shown === all ? total : `${shown} of ${total}`;
  element("title").textContent = all ? some : "Nothing found";
  const perLabel = new Map<string, number>();
  for (const { label } of store.visible) perLabel.set(label, (perLabel.get(label) ?? 0) + 1);
  const parts = [...perLabel].sort((a, b) => b[1] - a[1]).map(([label, number]) => `${number} ${plain(label, 40)}`);
  const more = parts.length > 6 ? ` and ${parts.length - 6} more labels` : "";
  const left = reply.omitted ? ` (${reply.omitted} more were left out of the answer)` : "";
  element("status").textContent = all
    ? `Shown: ${some}${parts.length > 1 ? `: ${parts.slice(0, 6).join(", ")}${more}` : ""}${left}`
    : "There is nothing to list.";
}
