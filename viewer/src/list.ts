/** The list of objects: the picture for those who do not see it, and a way through it for everybody. */

import { dot, element, make } from "./dom";
import type { Stage } from "./stage";
import type { Store } from "./store";
import { percent, plain } from "./text";
import type { Found, Reply } from "./types";
import { bar, spanOf } from "./video";

/** Keep the list in step with the picture, both ways. */
export function showList(store: Store, stage: Stage): void {
  const list = element<HTMLUListElement>("list");
  const items = new Map<number, HTMLLIElement>();
  let selected: HTMLLIElement | undefined;
  let hovered: HTMLLIElement | undefined;

  store.listen((state, changed) => {
    if (changed.has("reply") && state.reply) build(state.reply);
    if (changed.has("reply") || changed.has("hidden") || changed.has("minScore")) {
      const visible = new Set(store.visible.map((found) => found.id));
      for (const [id, item] of items) item.hidden = !visible.has(id);
    }
    hovered?.classList.remove("hovered");
    hovered = items.get(state.hovered ?? -1);
    hovered?.classList.add("hovered");
    if (changed.has("selected") || changed.has("reply")) select(items.get(state.selected ?? -1));
  });

  list.addEventListener("keydown", (event) => {
    const moves: Record<string, () => void> = {
      ArrowDown: () => store.step(1),
      ArrowUp: () => store.step(-1),
      Home: () => store.set({ selected: store.visible[0]?.id }),
      End: () => store.set({ selected: store.visible.at(-1)?.id }),
      Enter: () => stage.showSelected(),
      " ": () => stage.showSelected(),
      Escape: () => store.set({ selected: undefined }),
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  });
  list.addEventListener("pointerleave", () => store.set({ hovered: undefined }));

  function build(reply: Reply): void {
    items.clear();
    for (const found of reply.objects) items.set(found.id, item(found, reply));
    list.replaceChildren(...items.values());
    list.scrollTop = 0;
  }

  function item(found: Found, reply: Reply): HTMLLIElement {
    const said = found.text ?? found.caption;
    return make(
      "li",
      {
        id: `object-${found.id}`,
        role: "option",
        "aria-selected": "false",
        pointerenter: () => store.set({ hovered: found.id }),
        click: () => store.set({ selected: found.id }),
        dblclick: () => stage.showSelected(),
      },
      make("span", { class: "number" }, String(found.id)),
      " ",
      dot(found.color),
      make(
        "span",
        { class: "words" },
        plain(found.label, 60),
        said ? make("span", { class: "said" }, ` ${plain(said, 80)}`) : undefined,
      ),
      " ",
      reply.video && bar(found, reply.video.duration),
      found.span && make("span", { class: "sr" }, `${spanOf(found)} `),
      make("span", { class: "score" }, found.score === undefined ? "" : percent(found.score)),
    );
  }

  function select(item: HTMLLIElement | undefined): void {
    selected?.setAttribute("aria-selected", "false");
    selected = item;
    selected?.setAttribute("aria-selected", "true");
    if (!item) {
      list.removeAttribute("aria-activedescendant");
      return;
    }
    list.setAttribute("aria-activedescendant", item.id);
    // Not scrollIntoView: it would scroll the chat around this page, too.
    const { offsetTop, offsetHeight } = item;
    if (offsetTop < list.scrollTop) list.scrollTop = offsetTop;
    else if (offsetTop + offsetHeight > list.scrollTop + list.clientHeight) {
      list.scrollTop = offsetTop + offsetHeight - list.clientHeight;
    }
  }
}
