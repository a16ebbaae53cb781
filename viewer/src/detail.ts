/** Everything known about the selected object, and what can be done with it. */

import { dot, element, make } from "./dom";
import type { Host } from "./host";
import { visibility } from "./overlay";
import type { Stage } from "./stage";
import type { Store } from "./store";
import { lines, percent, plain, reference } from "./text";
import type { Found, Reply } from "./types";
import { spanOf } from "./video";

const INFORM_AFTER = 600; // ms that an object stays selected before the model hears of it

/** What the person may start from here. */
export interface Actions {
  host: Host | undefined;
  findSimilar(reply: Reply, found: Found): void;
  say(message: string): void;
}

/** Show the selected object. */
export function showDetail(store: Store, stage: Stage, actions: Actions): void {
  const panel = element("detail");
  let timer: number | undefined;
  store.listen((state, changed) => {
    if (!changed.has("selected") && !changed.has("reply")) return;
    const { selected } = store;
    panel.hidden = !selected;
    panel.replaceChildren(...(selected && state.reply ? parts(state.reply, selected) : []));
    clearTimeout(timer);
    const { reply } = state;
    const inform = actions.host?.informModel;
    if (selected && reply && inform) {
      const text = `In the viewer the user has selected ${reference(reply.resultId, selected)}.`;
      timer = window.setTimeout(() => void inform(text).catch(() => undefined), INFORM_AFTER);
    }
  });

  function parts(reply: Reply, found: Found): Node[] {
    const { host } = actions;
    return [
      make(
        "h2",
        {},
        dot(found.color),
        `${found.id} ${plain(found.label)}`,
        make("button", { "aria-label": "Deselect", click: () => store.set({ selected: undefined }) }, "✕"),
      ),
      make(
        "div",
        { class: "known" },
        make("dl", {}, ...facts(found).flatMap(([term, value]) => [make("dt", {}, term), make("dd", {}, lines(value))])),
        found.keypoints.length ? points(found) : undefined,
      ),
      make(
        "div",
        { class: "foot" },
        make(
          "div",
          { class: "actions" },
          found.span ? undefined : make("button", { click: () => stage.showSelected() }, "Zoom to it"),
          !found.span && (host?.findSimilar || host?.ask)
            ? make("button", { click: () => actions.findSimilar(reply, found) }, "Find more like this")
            : undefined,
        ),
        host?.ask ? form(host.ask, reply, found) : undefined,
      ),
    ];
  }

  function form(ask: NonNullable<Host["ask"]>, reply: Reply, found: Found): HTMLElement {
    const question = make("input", {
      type: "text",
      maxlength: "500",
      "aria-label": "Question about this object",
      placeholder: "Ask about this object",
    });
    const submit = async () => {
      const request = question.value.trim() || "Look closely at this and tell me about it:";
      button.disabled = true;
      try {
        await ask(`${request} (${reference(reply.resultId, found)})`);
        question.value = "";
        actions.say("Asked in the chat");
      } catch (error) {
        actions.say(`Not asked: ${error instanceof Error ? error.message : error}`);
      } finally {
        button.disabled = false;
      }
    };
    const button = make("button", { class: "main", click: () => void submit() }, "Ask");
    // No form: hosts' sandboxes need not let forms be sent.
    question.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) void submit();
    });
    return make("div", { class: "ask" }, question, button);
  }
}

function facts(found: Found): [string, string][] {
  const [x1, y1, x2, y2] = found.bbox.map(Math.round) as [number, number, number, number];
  const all: [string, string | undefined][] = [
    ["Score", found.score === undefined ? undefined : percent(found.score)],
    ["Text", found.text],
    ["Caption", found.caption],
    ["Category", found.category],
    ["Seen", found.span && spanOf(found)],
    ["Key frames", found.span && String(found.span.seen)],
    ["Way", found.span?.direction || undefined],
    ["Box", found.span ? undefined : `${x1}, ${y1} to ${x2}, ${y2}`],
    ["Size", found.span ? undefined : `${x2 - x1} × ${y2 - y1} px`],
    ["Mask", found.maskArea === undefined ? undefined : `${found.maskArea.toLocaleString("en")} px`],
  ];
  return all.filter((fact): fact is [string, string] => fact[1] !== undefined);
}

function points(found: Found): HTMLElement {
  const there = ["absent", "hidden", "seen"];
  const rows = found.keypoints.map((point) =>
    make(
      "tr",
      {},
      make("td", {}, plain(point.name.replaceAll("_", " "), 40)),
      make("td", {}, `${Math.round(point.x)}, ${Math.round(point.y)}`),
      make("td", {}, point.score === undefined ? (there[visibility(point)] ?? "") : percent(point.score)),
    ),
  );
  const head = ["Point", "Position", "Score"].map((name) => make("th", { scope: "col" }, name));
  return make(
    "details",
    {},
    make("summary", {}, `${found.keypoints.length} keypoints`),
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)),
  );
}
