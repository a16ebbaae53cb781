/** Pointer, wheel and keys on the picture. */

import type { Stage } from "./stage";
import type { Store } from "./store";
import { describe } from "./text";

const STEP = 60;
const CLICK = 5; // CSS pixels that a hand may shake while clicking

/** Let the person move the picture and choose objects on it. */
export function listen(canvas: HTMLCanvasElement, tip: HTMLElement, stage: Stage, store: Store): void {
  listenToPointers(canvas, tip, stage, store);
  listenToWheel(canvas, stage);
  listenToKeys(canvas, stage, store);
  const followWhole = () => {
    // A fitted picture has nothing to pan: a finger that slides over it scrolls the page.
    canvas.style.touchAction = stage.view.isFitted ? "pan-y" : "none";
  };
  stage.whenMoved(followWhole);
  followWhole();
}

function listenToPointers(canvas: HTMLCanvasElement, tip: HTMLElement, stage: Stage, store: Store): void {
  const pointers = new Map<number, { x: number; y: number }>();
  let travelled = 0;
  let pinched = false;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    stage.halt();
    canvas.setPointerCapture(event.pointerId);
    if (!pointers.size) {
      travelled = 0;
      pinched = false;
    }
    pointers.set(event.pointerId, at(canvas, event));
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    const now = at(canvas, event);
    if (!before) {
      if (event.pointerType !== "touch") hover(now);
      return;
    }
    const others = [...pointers].filter(([id]) => id !== event.pointerId);
    pointers.set(event.pointerId, now);
    travelled += Math.hypot(now.x - before.x, now.y - before.y);
    const other = others[0]?.[1];
    if (other) {
      pinched = true;
      const spread = (point: { x: number; y: number }) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
      stage.view.zoom(spread(now) / spread(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
      stage.view.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    } else if (travelled > CLICK) {
      stage.view.pan(now.x - before.x, now.y - before.y);
      canvas.classList.add("dragging");
      tip.hidden = true;
    }
    stage.movedView();
  });

  canvas.addEventListener("pointerup", (event) => {
    const here = pointers.has(event.pointerId) && pointers.size === 1 && !pinched && travelled <= CLICK;
    release(event);
    if (here) choose(at(canvas, event));
  });
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => {
    tip.hidden = true;
    store.set({ hovered: undefined });
  });
  canvas.addEventListener("dblclick", (event) => {
    const { x, y } = at(canvas, event);
    stage.view.zoom(2, x, y);
    stage.movedView();
  });

  function release(event: PointerEvent): void {
    pointers.delete(event.pointerId);
    canvas.classList.remove("dragging");
  }

  function hover({ x, y }: { x: number; y: number }): void {
    const found = stage.under(x, y)[0];
    store.set({ hovered: found?.id });
    canvas.classList.toggle("pointing", found !== undefined);
    tip.hidden = !found;
    if (!found) return;
    tip.textContent = describe(found);
    const space = canvas.clientWidth - tip.offsetWidth - 8;
    tip.style.transform = `translate(${Math.max(4, Math.min(x + 14, space))}px, ${y > canvas.clientHeight - 60 ? y - 40 : y + 16}px)`;
  }

  /** Select the smallest object here; where it is selected already, the next larger one below it. */
  function choose({ x, y }: { x: number; y: number }): void {
    const under = stage.under(x, y);
    const index = under.findIndex((found) => found.id === store.state.selected);
    store.set({ selected: under[(index + 1) % (under.length || 1)]?.id });
  }
}

function listenToWheel(canvas: HTMLCanvasElement, stage: Stage): void {
  canvas.addEventListener(
    "wheel",
    (event) => {
      // A fitted picture cannot get smaller: the wheel scrolls the page.
      if (event.deltaY > 0 && stage.view.isFitted) return;
      event.preventDefault();
      stage.halt();
      const { x, y } = at(canvas, event);
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : event.deltaMode === WheelEvent.DOM_DELTA_PAGE ? 400 : 1;
      const delta = Math.max(-200, Math.min(200, event.deltaY * lines));
      stage.view.zoom(Math.exp(-delta * (event.ctrlKey ? 0.01 : 0.002)), x, y);
      stage.movedView();
    },
    { passive: false },
  );
}

function listenToKeys(canvas: HTMLCanvasElement, stage: Stage, store: Store): void {
  const moves: Record<string, () => void> = {
    ArrowLeft: () => stage.view.pan(STEP, 0),
    ArrowRight: () => stage.view.pan(-STEP, 0),
    ArrowUp: () => stage.view.pan(0, STEP),
    ArrowDown: () => stage.view.pan(0, -STEP),
    "+": () => stage.view.zoom(1.25),
    "=": () => stage.view.zoom(1.25),
    "-": () => stage.view.zoom(1 / 1.25),
    _: () => stage.view.zoom(1 / 1.25),
    "0": () => stage.view.fit(),
    n: () => store.step(1),
    p: () => store.step(-1),
    Enter: () => stage.showSelected(),
    Escape: () => store.set({ selected: undefined }),
  };
  canvas.addEventListener("keydown", (event) => {
    const move = event.ctrlKey || event.metaKey || event.altKey ? undefined : moves[event.key];
    if (!move) return;
    event.preventDefault();
    if (event.key !== "Enter") stage.halt();
    move();
    stage.movedView();
  });
}

function at(canvas: HTMLCanvasElement, event: MouseEvent): { x: number; y: number } {
  const rect = canvas.getBoundingClientRect();
  return { x: event.clientX - rect.left, y: event.clientY - rect.top };
}
