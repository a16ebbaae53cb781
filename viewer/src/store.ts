/** The state of the page; listeners are called when it changes. */

import type { Found, Reply } from "./types";

export type Layer = "boxes" | "masks" | "skeletons" | "tags";

export interface State {
  reply: Reply | undefined;
  /** Labels that are switched off. */
  hidden: ReadonlySet<string>;
  minScore: number;
  layers: ReadonlySet<Layer>;
  selected: number | undefined;
  hovered: number | undefined;
  masksLoaded: boolean;
}

type Listener = (state: State, changed: ReadonlySet<keyof State>) => void;

export class Store {
  private readonly listeners: Listener[] = [];
  private shown: Found[] | undefined;

  state: State = {
    reply: undefined,
    hidden: new Set(),
    minScore: 0,
    layers: new Set<Layer>(["boxes", "masks", "skeletons", "tags"]),
    selected: undefined,
    hovered: undefined,
    masksLoaded: false,
  };

  listen(listener: Listener): void {
    this.listeners.push(listener);
  }

  /** Change some of the state, and call the listeners with what changed. */
  set(change: Partial<State>): void {
    const keys = Object.keys(change) as (keyof State)[];
    const changed = new Set(keys.filter((key) => change[key] !== this.state[key]));
    if (!changed.size) return;
    this.state = { ...this.state, ...change };
    if (changed.has("reply") || changed.has("hidden") || changed.has("minScore")) this.shown = undefined;
    // What is filtered away can be neither selected nor pointed at.
    if (!this.isVisible(this.state.selected)) this.drop("selected", changed);
    if (!this.isVisible(this.state.hovered)) this.drop("hovered", changed);
    for (const listener of this.listeners) listener(this.state, changed);
  }

  /** The objects that pass the filters, in the order of the reply. */
  get visible(): Found[] {
    const { reply, hidden, minScore } = this.state;
    this.shown ??= (reply?.objects ?? []).filter(
      (found) => !hidden.has(found.label) && (found.score === undefined || found.score >= minScore),
    );
    return this.shown;
  }

  get selected(): Found | undefined {
    return this.state.reply?.objects.find((found) => found.id === this.state.selected);
  }

  /** Select the visible object that is `by` positions further in the list. */
  step(by: number): void {
    const visible = this.visible;
    if (!visible.length) return;
    const index = visible.findIndex((found) => found.id === this.state.selected);
    const next = index < 0 ? (by > 0 ? 0 : visible.length - 1) : (index + by + visible.length) % visible.length;
    this.set({ selected: visible[next]!.id });
  }

  toggleLayer(layer: Layer): void {
    this.set({ layers: toggled(this.state.layers, layer) });
  }

  toggleLabel(label: string): void {
    this.set({ hidden: toggled(this.state.hidden, label) });
  }

  private isVisible(id: number | undefined): boolean {
    return id === undefined || this.visible.some((found) => found.id === id);
  }

  private drop(key: "selected" | "hovered", changed: Set<keyof State>): void {
    this.state = { ...this.state, [key]: undefined };
    changed.add(key);
  }
}

function toggled<T>(set: ReadonlySet<T>, member: T): Set<T> {
  const copy = new Set(set);
  if (!copy.delete(member)) copy.add(member);
  return copy;
}
