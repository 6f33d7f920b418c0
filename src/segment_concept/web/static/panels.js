// The panels: objects on the left, explanation of the frame on the right.

import { byId, h, icon, timecode } from './dom.js';

/** @param {{id: number, color: string}} object */
export function badge({ id, color }) {
  const element = h('span', { class: 'badge' }, id ? String(id) : icon('plus'));
  element.style.setProperty('--color', color);
  element.setAttribute('aria-hidden', 'true');
  return element;
}

/**
 * A small button with a picture.
 * @param {string} picture @param {string} label @param {(event: Event) => void} onclick @param {Record<string, any>} [more]
 */
export const iconButton = (picture, label, onclick, more = {}) =>
  h('button', { class: 'tool small', 'aria-label': label, title: label, onclick, ...more }, icon(picture));

export class ObjectsPanel {
  /**
   * @param {import('./store.js').Store} store
   * @param {{edit(edit: object): void, select(id: number): void, lock(id: number): void, redraw(): void}} actions
   */
  constructor(store, actions) {
    this.list = byId('object-list');
    store.on(['objects', 'selection', 'frame', 'records'], () => {
      if (!this.list.contains(document.activeElement) || document.activeElement?.tagName !== 'INPUT') this.draw(store, actions);
    });
  }

  /** @param {import('./store.js').Store} store @param {any} actions */
  draw(store, actions) {
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.focus : null;
    const rows = store.objectList().map(object => row(object, store, actions));
    const next = store.nextId();
    if (!store.selected || !rows.length) {
      const words = rows.length ? 'New object: mark it on the frame' : 'Mark an object on the frame';
      rows.push(h('li', { class: 'object new', 'aria-current': 'true' }, badge({ id: next, color: store.colorOf(0) }), h('span', {}, words)));
    }
    this.list.replaceChildren(...rows);
    if (focused) this.list.querySelector(`[data-focus="${focused}"]`)?.focus();
  }
}

/** @param {import('./store.js').ObjectInfo} object @param {import('./store.js').Store} store @param {any} actions */
function row(object, store, actions) {
  const { id } = object, chosen = id === store.selected, hidden = !store.shows(id), locked = store.isLocked(id, store.frame);
  const lane = store.lane(id), presence = lane.presence[store.frame] ?? -1;
  const known = presence >= 0 && store.frame < lane.length;
  const words = !known ? 'not tracked here' : lane.visible[store.frame] ? `present, ${percent(presence)}` : 'absent';
  const rename = (/** @type {any} */ event) => event.target.value.trim() && event.target.value !== object.name &&
    actions.edit({ type: 'object_change', object: id, name: event.target.value.trim() });
  const color = h('input', { type: 'color', value: object.color, class: 'swatch', 'aria-label': `Color of ${object.name}`,
    'data-focus': `color ${id}`, onchange: (/** @type {any} */ event) => actions.edit({ type: 'object_change', object: id, color: event.target.value }) });
  const toggle = (/** @type {Event} */ event) => {
    event.stopPropagation();
    if (store.solo) store.solo = 0;
    else if (!store.hidden.delete(id)) store.hidden.add(id);
    actions.redraw();
  };
  const alone = () => {
    store.solo = store.solo === id ? 0 : id;
    actions.redraw();
  };
  return h('li', { class: `object${chosen ? ' chosen' : ''}` },
    h('button', { class: 'object-choose', 'aria-pressed': chosen, 'aria-label': `${id}: choose ${object.name}`, 'data-focus': `choose ${id}`, onclick: () => actions.select(id) }, badge(object)),
    h('div', { class: 'object-text' },
      h('input', { class: 'object-name', value: object.name, 'aria-label': `Name of object ${id}`, maxLength: 60, 'data-focus': `name ${id}`, onchange: rename,
        onfocus: () => chosen || actions.select(id), onkeydown: (/** @type {any} */ event) => event.key === 'Enter' && event.target.blur() }),
      h('span', { class: 'object-state' }, words)),
    h('div', { class: 'object-tools' }, color,
      iconButton('solo', `Show only ${object.name}`, alone, { 'aria-pressed': store.solo === id, 'data-focus': `solo ${id}` }),
      iconButton(locked ? 'lock' : 'unlock', locked ? 'Unlock this frame' : 'Lock this frame', () => actions.lock(id), { 'aria-pressed': locked, 'data-focus': `lock ${id}` }),
      iconButton(hidden ? 'eye-off' : 'eye', hidden ? `Show ${object.name}` : `Hide ${object.name}`, toggle, { 'aria-pressed': hidden, 'data-focus': `eye ${id}` }),
      iconButton('trash', `Delete ${object.name}`, () => actions.edit({ type: 'object_delete', object: id }), { 'data-focus': `delete ${id}` })));
}

/** @param {number} share */
export const percent = share => `${Math.round(100 * share)} %`;

export class ExplainPanel {
  /**
   * @param {import('./store.js').Store} store
   * @param {{explain(frame: number): Promise<any>, seek(frame: number): void, thumbnail(frame: number, object: number): HTMLElement}} actions
   */
  constructor(store, actions) {
    this.store = store;
    this.actions = actions;
    this.body = byId('explain-body');
    this.timer = 0;
    this.shown = '';
    store.on(['frame', 'records', 'shots', 'selection', 'project'], () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.refresh(), 150);
    });
  }

  async refresh() {
    const { store } = this;
    if (!store.open || store.playing || !this.body.offsetParent) return;
    const frame = store.frame, found = await this.actions.explain(frame).catch(() => null);
    if (frame !== store.frame) return;
    const parts = [this.frameSection(found), this.doubtSection(), ...this.keyframeSection(found)];
    const now = JSON.stringify([found, store.doubts, store.selected]);
    if (now !== this.shown) this.body.replaceChildren(...parts);
    this.shown = now;
  }

  /** @param {any} found */
  frameSection(found) {
    const { store } = this, section = h('section', {}, h('h3', {}, `Frame ${store.frame}`));
    if (found?.cut) section.append(h('p', { class: 'fact' }, icon('film'), 'A new shot starts here.'));
    if (typeof found?.scene_change === 'number') section.append(h('p', { class: 'fact' }, icon('overlay'), `Color change to the frame before: ${found.scene_change.toFixed(2)}`));
    for (const each of found?.objects ?? []) {
      const object = store.objects.get(each.id);
      if (!object || each.state === 'empty') continue;
      const meter = (/** @type {string} */ name, /** @type {number} */ value) => value == null ? null :
        h('div', { class: 'meter-row' }, h('span', {}, name), h('meter', { min: 0, max: 1, value, 'aria-label': `${name} of ${object.name}` }), h('b', {}, value.toFixed(2)));
      section.append(h('div', { class: 'explained' },
        h('div', { class: 'explained-head' }, badge(object), h('span', { class: 'cut-short' }, object.name), h('span', { class: 'tag' }, each.state)),
        meter('Presence', each.presence), meter('Mask score', each.score),
        each.queried && h('p', { class: 'fact' }, icon('query'), 'The concept encoder was queried.'),
        ...(each.sentences ?? []).map((/** @type {string} */ text) => h('p', { class: 'sentence' }, text))));
    }
    if (section.children.length === 1) section.append(h('p', { class: 'empty' }, 'Nothing is tracked on this frame yet.'));
    return section;
  }

  doubtSection() {
    const { store, actions } = this;
    const doubts = store.doubts.filter(doubt => store.objects.has(doubt.object)).slice(0, 60);
    const rows = doubts.map(({ frame, object, reason }) => h('li', {},
      h('button', { class: 'doubt', onclick: () => actions.seek(frame) },
        badge(/** @type {any} */ (store.objects.get(object))),
        h('span', {}, h('b', {}, `Frame ${frame}`), ` ${timecode(store.table.times[frame] ?? 0)}`, h('br'), reason))));
    const none = store.shots.some(shot => shot.cards.length) ? 'No frame stands out.' : 'After tracking, frames on which the mask may be wrong are listed here.';
    return h('section', {}, h('h3', {}, 'Look at these frames'), rows.length ? h('ul', { class: 'doubts' }, ...rows) : h('p', { class: 'empty' }, none));
  }

  /** @param {any} found */
  keyframeSection(found) {
    const { store, actions } = this, id = store.selected;
    const frames = found?.objects.find((/** @type {any} */ each) => each.id === id)?.keyframes ?? [];
    if (!frames.length) return [];
    return [h('section', {}, h('h3', {}, 'Keyframe bank'),
      h('p', { class: 'empty' }, `What the concept of ${store.objects.get(id)?.name} is made of on this frame.`),
      h('div', { class: 'bank-grid' }, ...frames.map((/** @type {number} */ frame) =>
        h('button', { class: 'bank-item', 'aria-label': `Keyframe ${frame}`, onclick: () => actions.seek(frame) }, actions.thumbnail(frame, id), h('span', {}, String(frame))))))];
  }
}
