// The timeline: frames on a shared horizontal axis, with cuts, concept queries and a lane per object.

import { clamp, h, timecode } from './dom.js';
import { badge } from './panels.js';

const RULER = 22, CUTS = 20, LANE = 28, GAP = 4; // heights in pixels
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600]; // seconds between labels
const CLOSE = 4; // pixels between two cuts that are drawn
const LABEL = 84; // pixels that a label of the ruler needs

export class Timeline {
  /**
   * @param {{canvas: HTMLCanvasElement, heads: HTMLElement}} elements
   * @param {import('./store.js').Store} store
   * @param {{seek(frame: number, rough: boolean): void, select(id: number): void}} actions
   */
  constructor({ canvas, heads }, store, actions) {
    this.canvas = canvas;
    this.heads = heads;
    this.store = store;
    this.actions = actions;
    /** What does not change when another frame is shown; the canvas has a copy and the cursors. */
    this.layer = new OffscreenCanvas(1, 1);
    this.context = /** @type {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} */ (this.layer.getContext('2d'));
    this.stale = true;
    /** The visible range of frames. */
    this.range = { from: 0, to: 1, whole: true };
    /** Frame under the pointer. @type {number | null} */
    this.hovered = null;
    /** A shot that a card points at. @type {{first: number, last: number} | null} */
    this.marked = null;
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement ?? canvas);
    canvas.addEventListener('pointerdown', event => this.press(event));
    canvas.addEventListener('pointermove', event => this.move(event));
    canvas.addEventListener('pointerup', event => this.release(event));
    canvas.addEventListener('pointerleave', () => this.hover(null));
    canvas.addEventListener('wheel', event => this.wheel(event), { passive: false });
    store.on(['records', 'objects', 'prompts', 'shots', 'table', 'selection'], () => this.draw());
    store.on(['frame', 'job'], () => this.draw(false));
    store.on(['objects', 'selection'], () => this.drawHeads());
    matchMedia('(prefers-color-scheme: light)').addEventListener('change', () => this.draw());
  }

  get width() {
    return this.canvas.clientWidth;
  }

  /** Left edge of a frame. @param {number} frame */
  x(frame) {
    return ((frame - this.range.from) / (this.range.to - this.range.from)) * this.width;
  }

  /** @param {{clientX: number}} event */
  frameAt(event) {
    const { from, to } = this.range, box = this.canvas.getBoundingClientRect();
    const frame = Math.floor(from + ((event.clientX - box.left) / box.width) * (to - from));
    return clamp(frame, 0, Math.max(0, this.store.table.length - 1));
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (!this.store.open) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.dragged = event.button === 1 ? 'pan' : 'seek';
    if (this.dragged === 'seek') this.actions.seek(this.frameAt(event), true);
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (this.dragged === 'pan') {
      this.show(this.range.from - (event.movementX / this.width) * (this.range.to - this.range.from));
    } else if (this.dragged) this.actions.seek(this.frameAt(event), true);
    this.hover(this.store.open ? this.frameAt(event) : null);
  }

  /** @param {PointerEvent} event */
  release(event) {
    if (this.dragged === 'seek') this.actions.seek(this.frameAt(event), false);
    this.dragged = null;
  }

  /** @param {number | null} frame */
  hover(frame) {
    this.hovered = frame;
    this.draw(false);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const { from, to } = this.range;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      return this.show(from + ((event.deltaX || event.deltaY) / this.width) * (to - from));
    }
    this.zoom(Math.exp(event.deltaY / 300), this.frameAt(event));
  }

  /** Show more (factor above 1) or fewer frames around one. @param {number} factor @param {number} frame */
  zoom(factor, frame = this.store.frame) {
    const { from, to } = this.range, last = this.store.table.length;
    const length = clamp((to - from) * factor, Math.min(20, last), last);
    const share = clamp((frame - from) / (to - from), 0, 1);
    this.range = { from: frame - share * length, to: frame + (1 - share) * length, whole: length >= last };
    this.show(this.range.from);
  }

  /** Move the range so that it begins at a frame. @param {number} from */
  show(from) {
    const length = this.range.to - this.range.from, last = Math.max(1, this.store.table.length);
    const start = clamp(from, 0, Math.max(0, last - length));
    this.range = { ...this.range, from: start, to: start + length };
    this.draw();
  }

  drawHeads() {
    const { store } = this;
    this.heads.replaceChildren(
      h('div', { class: 'head head-ruler' }),
      h('div', { class: 'head head-cuts' }, 'Cuts and queries'),
      ...store.objectList().map(object => {
        return h('button', {
          class: 'head head-lane', 'aria-pressed': object.id === store.selected, title: object.name,
          onclick: () => this.actions.select(object.id),
        }, badge(object), h('span', { class: 'cut-short' }, object.name));
      }),
    );
    this.draw();
  }

  /** Draw in the next animation frame. @param {boolean} all whether more than the cursors changed */
  draw(all = true) {
    this.stale ||= all;
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.paint();
    });
  }

  paint() {
    const { canvas, layer, store } = this, ratio = devicePixelRatio || 1;
    const objects = store.objectList(), height = RULER + CUTS + Math.max(2, objects.length) * LANE + GAP;
    canvas.style.setProperty('height', `${height}px`);
    const width = this.width, size = [Math.max(1, Math.round(width * ratio)), Math.round(height * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = [layer.width, layer.height] = size;
      this.stale = true;
    }
    const shown = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    shown.setTransform(1, 0, 0, 1, 0, 0);
    shown.clearRect(0, 0, canvas.width, canvas.height);
    if (!store.open || !store.table.length) return;
    if (this.stale) this.paintLayer(width, height, ratio);
    this.stale = false;
    shown.drawImage(layer, 0, 0);
    shown.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.paintCursors(shown, height);
    this.describe();
  }

  /** @param {number} width @param {number} height @param {number} ratio */
  paintLayer(width, height, ratio) {
    const { canvas, context, store } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this.range.whole) this.range = { from: 0, to: Math.max(1, store.table.length), whole: true };
    const style = getComputedStyle(canvas), ink = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    this.colors = { ink: ink('--ink'), soft: ink('--ink-3'), line: ink('--line'), accent: ink('--accent'), warn: ink('--warn'), raised: ink('--bg-2'), bg: ink('--bg-1') };
    this.paintRuler(width);
    this.paintShots(height);
    store.objectList().forEach((object, i) => this.paintLane(object, RULER + CUTS + i * LANE, width));
  }

  /** @param {number} width */
  paintRuler(width) {
    const { context, store, colors, range } = this, { table } = store;
    if (!colors) return;
    context.font = '11px ' + getComputedStyle(this.canvas).fontFamily;
    context.fillStyle = colors.soft;
    context.textBaseline = 'middle';
    const first = table.times[Math.floor(range.from)], last = table.times[Math.min(table.length - 1, Math.ceil(range.to))];
    const step = STEPS.find(s => ((last - first) / s) * LABEL <= width) ?? 7200;
    for (let t = Math.ceil(first / step) * step; t <= last; t += step) {
      const x = Math.round(this.x(table.indexAt(t))) + 0.5;
      context.fillRect(x - 0.5, RULER - 6, 1, 6);
      context.fillText(timecode(t).replace(step >= 1 ? /\.\d+$/ : /$^/, ''), x + 4, RULER / 2);
    }
  }

  /** @param {number} height */
  paintShots(height) {
    const { context, store, colors } = this;
    if (!colors) return;
    context.fillStyle = colors.line;
    context.fillRect(0, RULER - 0.5, this.width, 1);
    let drawn = -CLOSE;
    store.shots.forEach((shot, i) => {
      const x = this.x(shot.first), end = this.x(shot.last + 1);
      if (end < 0 || x > this.width) return;
      if (i % 2 && end - x > CLOSE) {
        context.fillStyle = colors.raised;
        context.fillRect(x, RULER, end - x, height - RULER);
      }
      const state = store.stateOfShot(shot);
      if (state.doubtful) {
        context.fillStyle = colors.warn;
        context.fillRect(x + 1, RULER + 1, Math.max(2, end - x - 2), 3);
      }
      if (i && x - drawn >= CLOSE) { // of cuts that lie closer, only the first is drawn, and all of them paler
        drawn = x;
        context.globalAlpha = end - x > CLOSE ? 1 : 0.3;
        context.fillStyle = colors.ink;
        context.fillRect(Math.round(x), RULER, 1, height - RULER);
        context.globalAlpha = 1;
      }
    });
    if (this.marked) {
      context.globalAlpha = 0.16;
      context.fillStyle = colors.accent;
      context.fillRect(this.x(this.marked.first), RULER, this.x(this.marked.last + 1) - this.x(this.marked.first), height - RULER);
      context.globalAlpha = 1;
    }
    context.fillStyle = colors.soft;
    const places = new Set(); // of those that lie closer than a mark is wide, one is drawn
    for (const frame of store.queries) {
      const x = this.x(frame + 0.5), y = RULER + CUTS / 2 + 2, place = Math.round(x / 8);
      if (x < 0 || x > this.width || places.has(place)) continue;
      places.add(place);
      context.beginPath();
      context.moveTo(x, y - 5);
      context.lineTo(x + 3.5, y);
      context.lineTo(x, y + 5);
      context.lineTo(x - 3.5, y);
      context.fill();
    }
  }

  /** @param {import('./store.js').ObjectInfo} object @param {number} top @param {number} width */
  paintLane(object, top, width) {
    const { context, store, range, colors } = this, lane = store.lane(object.id);
    if (!colors) return;
    const base = top + LANE - GAP, full = LANE - 2 * GAP, each = (range.to - range.from) / width;
    context.fillStyle = colors.line;
    context.fillRect(0, base, width, 1);
    context.fillStyle = object.color;
    for (let x = 0; x < width; x++) {
      const from = Math.floor(range.from + x * each), to = Math.max(from + 1, Math.floor(range.from + (x + 1) * each));
      let low = Infinity, stale = false, locked = false;
      for (let i = from; i < to && i < lane.length; i++) {
        const value = lane.presence[i];
        if (value >= 0) low = Math.min(low, lane.visible[i] ? value : 0);
        stale ||= lane.stale[i] === 1;
        locked ||= lane.locked[i] === 1;
      }
      if (low === Infinity) continue;
      const size = low * full;
      context.globalAlpha = stale ? 0.25 : low < 0.5 ? 0.6 : 0.85;
      if (size > 0) context.fillRect(x, base - size, 1, size);
      context.globalAlpha = 1;
      context.fillRect(x, base, 1, low > 0 ? 1 : 2);
      if (locked) context.fillRect(x, base + 2, 1, 2);
    }
    for (const frame of store.promptFrames(object.id)) {
      const x = this.x(frame + 0.5);
      context.beginPath();
      context.arc(x, top + LANE / 2, 4.5, 0, 2 * Math.PI);
      context.fillStyle = object.color;
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = colors.bg;
      context.stroke();
      context.strokeStyle = colors.ink;
      context.lineWidth = 1;
      context.stroke();
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {number} height */
  paintCursors(context, height) {
    const { store, colors } = this;
    if (!colors) return;
    if (store.job && store.job.frame >= 0) {
      const x = this.x(store.job.frame + 0.5);
      context.fillStyle = colors.accent;
      context.globalAlpha = 0.6;
      context.fillRect(x, RULER, 2, height);
      context.globalAlpha = 1;
    }
    if (this.hovered !== null) {
      context.fillStyle = colors.soft;
      context.fillRect(Math.round(this.x(this.hovered + 0.5)), 0, 1, height);
    }
    const x = Math.round(this.x(store.frame + 0.5));
    context.fillStyle = colors.accent;
    context.fillRect(x - 1, 4, 2, height);
    context.beginPath();
    context.moveTo(x - 6, 2);
    context.lineTo(x + 6, 2);
    context.lineTo(x + 6, 9);
    context.lineTo(x, 15);
    context.lineTo(x - 6, 9);
    context.fill();
  }

  /** Say the place in words for readers of the screen. */
  describe() {
    const { store, canvas } = this;
    canvas.setAttribute('aria-valuemax', String(Math.max(0, store.table.length - 1)));
    canvas.setAttribute('aria-valuenow', String(store.frame));
    canvas.setAttribute('aria-valuetext', `frame ${store.frame}, ${timecode(store.table.times[store.frame])}`);
  }
}
