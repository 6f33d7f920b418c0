// The stage: draws the frame with its masks, prompts and the tool in hand, and maps pointers to pixels.

import { clamp } from './dom.js';
import { outlineOf } from './masks.js';

const MOST_ZOOM = 32; // screen pixels of a pixel of the video
const MARGIN = 16; // free pixels around the frame when it is fitted

export class Stage {
  /** @param {HTMLCanvasElement} canvas @param {import('./store.js').Store} store */
  constructor(canvas, store) {
    this.canvas = canvas;
    this.store = store;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
    /** What is shown: a still or the playing video. @type {CanvasImageSource | null} */
    this.picture = null;
    this.frame = -1; // index of the picture
    /** Masks of the shown frame. @type {import('./masks.js').Mask[]} */
    this.masks = [];
    /** Dashed outline under the pointer. @type {import('./masks.js').Mask | null} */
    this.preview = null;
    /** The box that is drawn now, in video pixels. @type {number[] | null} */
    this.box = null;
    /** The mask that is painted now. @type {OffscreenCanvas | null} */
    this.painting = null;
    /** The pointer in video pixels. @type {{x: number, y: number} | null} */
    this.pointer = null;
    this.view = { scale: 1, x: 0, y: 0, fitted: true };
    this.crosshair = false; // whether the keyboard moves the pointer
    this.waits = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  resize() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (this.view.fitted) this.fit();
    this.draw();
  }

  /** Show the whole frame. */
  fit() {
    const { width, height } = this.store.size, { clientWidth: w, clientHeight: h } = this.canvas;
    const across = width * this.store.aspect;
    const margin = w < 500 ? 0 : MARGIN;
    const scale = Math.max(0.01, Math.min((w - 2 * margin) / across, (h - 2 * margin) / height));
    this.view = { scale, x: (w - across * scale) / 2, y: (h - height * scale) / 2, fitted: true };
    this.redraw();
  }

  /** Zoom by a factor so that a point of the canvas stays where it is. @param {number} factor @param {number} x @param {number} y */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const { view } = this, scale = clamp(view.scale * factor, 0.05, MOST_ZOOM);
    const ratio = scale / view.scale;
    this.view = { scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio, fitted: false };
    this.redraw();
  }

  /** @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy, fitted: false };
    this.redraw();
  }

  /** Video pixels under a pointer event. @param {{clientX: number, clientY: number}} event */
  pixelAt(event) {
    const box = this.canvas.getBoundingClientRect(), { scale, x, y } = this.view;
    return { x: (event.clientX - box.left - x) / (scale * this.store.aspect), y: (event.clientY - box.top - y) / scale };
  }

  /** Draw in the next animation frame. */
  redraw() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.draw();
    });
  }

  draw() {
    const { context, store, view } = this, ratio = devicePixelRatio || 1;
    this.canvas.dataset.preview = String(!!this.preview);
    this.canvas.dataset.frame = String(this.frame);
    const { width, height } = store.size;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = '#08090b';
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (!store.open) return;
    context.setTransform(ratio * view.scale * store.aspect, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
    context.imageSmoothingEnabled = view.scale < 4;
    context.save();
    context.beginPath();
    context.rect(0, 0, width, height);
    context.clip();
    if (store.view === 'matte') this.drawMatte();
    else {
      if (this.picture) context.drawImage(this.picture, 0, 0, width, height);
      if (!store.masksHidden) this.drawMasks();
    }
    context.restore();
    if (!store.masksHidden) this.drawPrompts();
    this.drawTool();
  }

  drawMatte() {
    const { context, store } = this;
    context.fillStyle = '#000';
    context.fillRect(0, 0, store.size.width, store.size.height);
    context.fillStyle = '#fff';
    for (const mask of this.masks) if (store.shows(mask.id)) context.fill(outlineOf(mask), 'evenodd');
  }

  drawMasks() {
    const { context, store, view } = this;
    for (const mask of this.masks) {
      if (!store.shows(mask.id) || (this.painting && mask.id === store.selected)) continue;
      const chosen = mask.id === store.selected, outline = outlineOf(mask), color = store.colorOf(mask.id);
      if (store.view === 'overlay') {
        context.globalAlpha = 0.38;
        context.fillStyle = color;
        context.fill(outline, 'evenodd');
        context.globalAlpha = 1;
      }
      this.stroke(outline, 'rgba(0, 0, 0, .55)', chosen ? 4 : 3);
      this.stroke(outline, color, chosen ? 2 : 1.25);
    }
    if (this.painting) {
      context.globalAlpha = 0.55;
      context.drawImage(this.painting, 0, 0);
      context.globalAlpha = 1;
    }
    if (this.preview) {
      const outline = outlineOf(this.preview), dash = [6 / view.scale, 4 / view.scale];
      this.stroke(outline, 'rgba(0, 0, 0, .7)', 3);
      context.setLineDash(dash);
      this.stroke(outline, '#fff', 1.75);
      context.setLineDash([]);
    }
  }

  /** @param {Path2D} path @param {string} color @param {number} width in screen pixels */
  stroke(path, color, width) {
    this.context.strokeStyle = color;
    this.context.lineWidth = width / this.view.scale;
    this.context.lineJoin = 'round';
    this.context.stroke(path);
  }

  drawPrompts() {
    const { context, store, view } = this, pixel = 1 / view.scale;
    for (const [id, prompt] of store.promptsOn(store.frame)) {
      if (!store.shows(id)) continue;
      const color = store.colorOf(id);
      if (prompt.box) {
        const [x0, y0, x1, y1] = prompt.box, path = new Path2D();
        path.rect(x0, y0, x1 - x0, y1 - y0);
        this.stroke(path, 'rgba(0, 0, 0, .6)', 3);
        this.stroke(path, color, 1.5);
      }
      for (const { x, y, positive } of prompt.clicks) {
        const size = 7 * pixel, arm = 3.5 * pixel;
        context.beginPath();
        context.arc(x, y, size, 0, 2 * Math.PI);
        context.fillStyle = positive ? color : '#14171b';
        context.fill();
        this.stroke(circle(x, y, size), positive ? '#fff' : color, 2);
        const sign = new Path2D();
        sign.moveTo(x - arm, y);
        sign.lineTo(x + arm, y);
        if (positive) {
          sign.moveTo(x, y - arm);
          sign.lineTo(x, y + arm);
        }
        this.stroke(sign, positive ? '#14171b' : '#fff', 2);
      }
    }
  }

  drawTool() {
    const { box, pointer, store, context } = this;
    if (box) {
      const path = new Path2D();
      path.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
      this.stroke(path, 'rgba(0, 0, 0, .7)', 3);
      context.setLineDash([6 / this.view.scale, 4 / this.view.scale]);
      this.stroke(path, '#fff', 1.5);
      context.setLineDash([]);
    }
    if (pointer && this.crosshair) {
      const arm = 14 / this.view.scale, path = new Path2D(`M${pointer.x - arm} ${pointer.y}h${2 * arm}M${pointer.x} ${pointer.y - arm}v${2 * arm}`);
      this.stroke(path, 'rgba(0, 0, 0, .8)', 4);
      this.stroke(path, '#fff', 1.75);
    }
    if (pointer && (store.tool === 'brush' || store.tool === 'eraser')) {
      const path = circle(pointer.x, pointer.y, store.brush / 2);
      this.stroke(path, 'rgba(0, 0, 0, .8)', 3);
      this.stroke(path, store.tool === 'brush' ? '#fff' : '#ffb3ab', 1.5);
    }
  }
}

/** @param {number} x @param {number} y @param {number} radius */
function circle(x, y, radius) {
  const path = new Path2D();
  path.arc(x, y, radius, 0, 2 * Math.PI);
  return path;
}
