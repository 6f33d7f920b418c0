// What a pointer on the stage does: clicks, boxes, brush, eraser, zoom and pan; and the hover preview.

import { bitmapOf, covers, runsOf } from './masks.js';

const REST = 60; // milliseconds without movement after which a preview is asked for
const NEAR = 4; // screen pixels: a shorter drag is a click

/**
 * @typedef {{x: number, y: number, positive: boolean}} Click
 * @typedef {{
 *   click(click: Click): void,
 *   box(box: number[]): void,
 *   paint(runs: number[]): void,
 *   preview(prompt: {clicks: Click[], box: number[] | null}, signal: AbortSignal): Promise<import('./masks.js').Mask | null>,
 *   select(id: number): void,
 * }} Actions
 */

export class Tools {
  /** @param {import('./stage.js').Stage} stage @param {import('./store.js').Store} store @param {Actions} actions */
  constructor(stage, store, actions) {
    this.stage = stage;
    this.store = store;
    this.actions = actions;
    /** Pointers that are down, by id. @type {Map<number, {x: number, y: number}>} */
    this.down = new Map();
    /** What the first pointer does now. @type {'click' | 'box' | 'paint' | 'pan' | 'pinch' | null} */
    this.gesture = null;
    this.start = { x: 0, y: 0, clientX: 0, clientY: 0, negative: false };
    this.previews = new NewestOnly(actions.preview);
    this.timer = 0;
    /** The prompt of the outline that is shown. @type {{clicks: Click[], box: number[] | null} | null} */
    this.asked = null;
    const { canvas } = stage;
    canvas.addEventListener('pointerdown', event => this.press(event));
    canvas.addEventListener('pointermove', event => this.move(event));
    canvas.addEventListener('pointerup', event => this.release(event));
    canvas.addEventListener('pointercancel', event => this.cancel(event));
    canvas.addEventListener('pointerleave', () => this.leave());
    canvas.addEventListener('contextmenu', event => event.preventDefault());
    canvas.addEventListener('wheel', event => this.wheel(event), { passive: false });
  }

  /** @param {PointerEvent} event */
  press(event) {
    const { stage, store } = this;
    if (!store.open) return;
    try {
      stage.canvas.setPointerCapture(event.pointerId);
    } catch { /* an event that a script made has no pointer */ }
    this.down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.down.size > 1) {
      this.abandon();
      this.gesture = 'pinch';
      return;
    }
    const at = stage.pixelAt(event);
    if (event.ctrlKey || event.metaKey) {
      this.gesture = null;
      return this.actions.select(this.objectAt(at));
    }
    this.start = { ...at, clientX: event.clientX, clientY: event.clientY,
      negative: event.button === 2 || event.altKey || store.negative };
    if (event.button === 1) this.gesture = 'pan';
    else if (store.tool === 'brush' || store.tool === 'eraser') this.beginPainting(event.button === 2);
    else this.gesture = store.tool === 'box' && event.button === 0 ? 'box' : 'click';
    if (this.gesture === 'paint') this.paint([event]);
    event.preventDefault();
    stage.canvas.focus({ preventScroll: true });
  }

  /** @param {PointerEvent} event */
  move(event) {
    const { stage, store } = this, before = this.down.get(event.pointerId);
    stage.pointer = stage.pixelAt(event);
    if (this.gesture === 'pinch') this.pinch(event);
    else if (this.gesture === 'pan' && before) stage.pan(event.clientX - before.x, event.clientY - before.y);
    else if (this.gesture === 'paint') this.paint(event.getCoalescedEvents?.() ?? [event]);
    else if (this.gesture === 'box') this.dragBox();
    else if (!this.gesture && store.tool === 'click' && event.pointerType !== 'touch') this.hover(event.altKey);
    if (before) this.down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    stage.redraw();
  }

  /** @param {PointerEvent} event */
  release(event) {
    const { store, stage, actions, start, gesture } = this;
    this.down.delete(event.pointerId);
    if (this.down.size) return;
    this.gesture = null;
    const at = stage.pixelAt(event), { width, height } = store.size;
    const inside = start.x >= 0 && start.y >= 0 && start.x < width && start.y < height;
    if (gesture === 'click' && inside) {
      const seen = this.asked?.clicks.at(-1); // the outline stays if it is of this click
      this.forget(!seen || Math.hypot(seen.x - start.x, seen.y - start.y) * stage.view.scale > NEAR);
      actions.click({ x: start.x, y: start.y, positive: !start.negative });
    } else if (gesture === 'box') {
      const box = boxOf(start, at, width, height);
      stage.box = null;
      this.forget(); // it is of a smaller box
      const short = Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < NEAR;
      if (!short && box[2] - box[0] >= 1 && box[3] - box[1] >= 1) actions.box(box);
    } else if (gesture === 'paint') this.endPainting();
    if (event.pointerType === 'touch') stage.pointer = null;
    stage.redraw();
  }

  /** @param {PointerEvent} event */
  cancel(event) {
    this.down.delete(event.pointerId);
    this.abandon();
  }

  /** Give up what the pointer does now, without a change to the project. */
  abandon() {
    this.gesture = null;
    this.stage.box = this.stage.painting = null;
    this.forget();
  }

  leave() {
    if (this.gesture) return;
    this.stage.pointer = null;
    this.forget();
  }

  /** Drop the preview and what was asked for. @param {boolean} erase */
  forget(erase = true) {
    clearTimeout(this.timer);
    this.previews.cancel();
    if (erase) this.stage.preview = null;
    this.stage.redraw();
  }

  /** @param {boolean} alt */
  hover(alt) {
    const { store, stage } = this;
    clearTimeout(this.timer);
    if (store.playing || store.view === 'matte') return;
    this.timer = setTimeout(() => {
      const at = stage.pointer, { width, height } = store.size;
      if (!at || at.x < 0 || at.y < 0 || at.x >= width || at.y >= height) return this.forget();
      const before = store.promptsOn(store.frame).get(store.selected);
      const positive = !(alt || store.negative);
      const clicks = [...(before?.clicks ?? []), { ...at, positive }];
      this.ask({ clicks, box: before?.box ?? null });
    }, REST);
  }

  dragBox() {
    const { stage, store, start } = this, { width, height } = store.size;
    if (!stage.pointer) return;
    const box = boxOf(start, stage.pointer, width, height);
    stage.box = box;
    if (box[2] - box[0] > 4 && box[3] - box[1] > 4) this.ask({ clicks: [], box });
  }

  /** @param {{clicks: Click[], box: number[] | null}} prompt */
  async ask(prompt) {
    const { store, stage } = this, frame = store.frame;
    const mask = await this.previews.ask(prompt);
    if (mask === undefined || frame !== store.frame) return;
    stage.preview = mask;
    this.asked = prompt;
    stage.redraw();
  }

  /** @param {boolean} erase whether the brush takes away */
  beginPainting(erase) {
    const { stage, store } = this, { width, height } = store.size;
    this.gesture = 'paint';
    this.erases = erase || store.tool === 'eraser';
    const canvas = new OffscreenCanvas(width, height), mask = stage.masks.find(m => m.id === store.selected);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));
    if (mask) {
      const image = context.createImageData(width, height), bitmap = bitmapOf(mask);
      const [r, g, b] = rgbOf(store.colorOf(mask.id));
      for (let i = 0; i < bitmap.length; i++) if (bitmap[i]) image.data.set([r, g, b, 255], 4 * i);
      context.putImageData(image, 0, 0);
    }
    stage.painting = canvas;
    this.last = null;
  }

  /** @param {PointerEvent[]} events */
  paint(events) {
    const { stage, store } = this;
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (stage.painting?.getContext('2d'));
    context.globalCompositeOperation = this.erases ? 'destination-out' : 'source-over';
    context.strokeStyle = store.colorOf(store.selected || store.nextId());
    context.lineWidth = store.brush;
    context.lineCap = context.lineJoin = 'round';
    for (const event of events) {
      const at = stage.pixelAt(event), from = this.last ?? at;
      context.beginPath();
      context.moveTo(from.x, from.y);
      context.lineTo(at.x + 0.01, at.y);
      context.stroke();
      this.last = at;
    }
  }

  endPainting() {
    const { stage, store, actions } = this, { width, height } = store.size;
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (stage.painting?.getContext('2d'));
    const { data } = context.getImageData(0, 0, width, height), bitmap = new Uint8Array(width * height);
    for (let i = 0; i < bitmap.length; i++) bitmap[i] = data[4 * i + 3] > 127 ? 1 : 0;
    actions.paint(runsOf(bitmap));
  }

  /** @param {PointerEvent} event */
  pinch(event) {
    const before = [...this.down.values()];
    this.down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const after = [...this.down.values()];
    if (before.length < 2) return;
    const apart = (/** @type {{x: number, y: number}[]} */ p) => Math.hypot(p[0].x - p[1].x, p[0].y - p[1].y);
    const box = this.stage.canvas.getBoundingClientRect();
    const middle = (/** @type {{x: number, y: number}[]} */ p) => [(p[0].x + p[1].x) / 2, (p[0].y + p[1].y) / 2];
    const [x0, y0] = middle(before), [x1, y1] = middle(after);
    this.stage.pan(x1 - x0, y1 - y0);
    this.stage.zoom(apart(after) / Math.max(1, apart(before)), x1 - box.left, y1 - box.top);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const box = this.stage.canvas.getBoundingClientRect();
    if (event.shiftKey) this.stage.pan(-event.deltaY, -event.deltaX);
    else this.stage.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }

  /** The object whose mask is under a pixel. @param {{x: number, y: number}} at */
  objectAt({ x, y }) {
    return this.stage.masks.find(mask => this.store.shows(mask.id) && covers(mask, x, y))?.id ?? 0;
  }
}

/**
 * Calls a slow function with one call at a time; of the calls that wait, the newest replaces the others.
 * @template A, R
 */
export class NewestOnly {
  /** @param {(argument: A, signal: AbortSignal) => Promise<R>} call */
  constructor(call) {
    this.call = call;
    /** @type {AbortController | null} */
    this.running = null;
    /** @type {{argument: A, done(value: R | undefined): void} | null} */
    this.waiting = null;
  }

  /** The result, or undefined if a newer call replaced this one. @param {A} argument @returns {Promise<R | undefined>} */
  async ask(argument) {
    if (this.running) {
      this.waiting?.done(undefined);
      return new Promise(done => (this.waiting = { argument, done }));
    }
    const controller = (this.running = new AbortController());
    let result;
    try {
      result = await this.call(argument, controller.signal);
    } catch {
      result = undefined; // aborted, or the server is busy: there is no preview this time
    }
    if (this.running === controller) this.running = null;
    const next = this.waiting;
    this.waiting = null;
    if (next) this.ask(next.argument).then(next.done);
    return controller.signal.aborted ? undefined : result;
  }

  cancel() {
    this.waiting?.done(undefined);
    this.waiting = null;
    this.running?.abort();
    this.running = null;
  }
}

/** @param {{x: number, y: number}} a @param {{x: number, y: number}} b @param {number} width @param {number} height */
function boxOf(a, b, width, height) {
  const inside = (/** @type {number} */ value, /** @type {number} */ most) => Math.min(Math.max(value, 0), most);
  return [inside(Math.min(a.x, b.x), width), inside(Math.min(a.y, b.y), height),
    inside(Math.max(a.x, b.x), width), inside(Math.max(a.y, b.y), height)];
}

/** @param {string} color `#rrggbb` */
function rgbOf(color) {
  return [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16));
}
