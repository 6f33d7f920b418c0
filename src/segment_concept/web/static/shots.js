// The shot strip: a card for each shot, doubtful ones first, to confirm, deny or correct.

import { byId, h, icon, timecode } from './dom.js';
import { badge, iconButton, percent } from './panels.js';

const ICONS = { empty: 'film', present: 'eye', absent: 'absent', confirmed: 'check', denied: 'cross' };
const WORDS = { empty: 'not tracked yet', present: 'present', absent: 'absent', confirmed: 'confirmed', denied: 'not it' };

/** @typedef {{element: HTMLElement, shown: string}} Drawn */

export class ShotStrip {
  /**
   * @param {import('./store.js').Store} store
   * @param {{seek(frame: number): void, decide(shot: import('./store.js').Shot, verdict: 'confirm' | 'deny'): void,
   *   mark(shot: import('./store.js').Shot | null): void, thumbnail(frame: number, object: number): HTMLElement}} actions
   */
  constructor(store, actions) {
    this.store = store;
    this.actions = actions;
    this.list = byId('cards');
    this.order = byId('shots-order');
    /** @type {Map<number, Drawn>} */
    this.drawn = new Map();
    this.order.addEventListener('click', () => {
      this.order.setAttribute('aria-pressed', String(this.order.getAttribute('aria-pressed') !== 'true'));
      this.draw();
    });
    store.on(['shots', 'selection', 'objects', 'project'], () => this.draw());
    store.on(['frame'], () => this.point());
  }

  draw() {
    const { store } = this, found = store.shots.map(shot => ({ shot, ...store.stateOfShot(shot) }));
    const doubtful = found.filter(each => each.doubtful).length;
    if (this.order.getAttribute('aria-pressed') === 'true') {
      found.sort((a, b) => Number(b.doubtful) - Number(a.doubtful) || (b.doubtful ? (b.card?.doubt ?? 0) - (a.card?.doubt ?? 0) : 0));
    }
    const kept = new Set(found.map(({ shot }) => shot.first));
    for (const [first, { element }] of this.drawn) {
      if (kept.has(first)) continue;
      element.remove();
      this.drawn.delete(first);
    }
    const focused = document.activeElement;
    found.forEach(({ shot, state, doubtful: doubt, card }, place) => {
      const name = JSON.stringify([shot.last, state, doubt, card, store.selected, store.objects.get(card?.object ?? 0)]);
      const before = this.drawn.get(shot.first);
      let element = before?.element;
      if (!before || before.shown !== name) {
        const fresh = this.card(shot, state, doubt, card);
        if (element) {
          const within = element.contains(focused) ? [...element.querySelectorAll('button')].indexOf(/** @type {any} */ (focused)) : -1;
          element.replaceWith(fresh);
          if (within >= 0) fresh.querySelectorAll('button')[within]?.focus();
        }
        element = fresh;
        this.drawn.set(shot.first, { element, shown: name });
      }
      if (this.list.children[place] !== element) this.list.insertBefore(/** @type {any} */ (element), this.list.children[place] ?? null);
    });
    const words = `${found.length} shot${found.length === 1 ? '' : 's'}`;
    byId('shots-count').textContent = !store.open ? '' : doubtful ? `${words}, ${doubtful} to check` : words;
    this.point();
  }

  /**
   * @param {import('./store.js').Shot} shot @param {keyof typeof ICONS} state @param {boolean} doubtful
   * @param {import('./store.js').Card | null} card
   */
  card(shot, state, doubtful, card) {
    const { store, actions } = this, object = store.objects.get(card?.object ?? 0);
    const frame = card?.best ?? shot.first, name = object?.name ?? 'nothing';
    const why = card?.concept ?? (doubtful ? card?.reasons[0] : null);
    const score = card && card.present ? percent(card.score) : null;
    const about = `Shot from frame ${shot.first} to ${shot.last}: ${name} ${WORDS[state]}${doubtful ? ', doubtful' : ''}`;
    return h('div', { class: `card ${state}${doubtful ? ' doubtful' : ''}`, role: 'listitem', 'data-first': shot.first,
      onpointerenter: () => actions.mark(shot), onpointerleave: () => actions.mark(null) },
    h('div', { class: 'card-top' }, h('button', { class: 'card-picture', 'aria-label': `${about}. Enter confirms, X denies.`, 'data-card': shot.first,
      onclick: () => actions.seek(frame), onfocus: (/** @type {any} */ event) => event.target.matches(':focus-visible') && actions.seek(frame) },
    actions.thumbnail(frame, card?.object ?? 0)),
    h('span', { class: 'card-time', 'aria-hidden': true }, timecode(store.table.times[shot.first] ?? 0).slice(0, -3)),
    object ? badge(object) : null),
    h('div', { class: 'card-line' },
      h('span', { class: 'card-state' }, icon(doubtful ? 'warning' : ICONS[state]), h('b', {}, doubtful ? `${WORDS[state]}?` : WORDS[state])),
      card && h('span', { class: 'card-tools' },
        iconButton('check', `Confirm ${name} in this shot`, () => actions.decide(shot, 'confirm'), { 'aria-pressed': state === 'confirmed' }),
        iconButton('cross', `This is not ${name}`, () => actions.decide(shot, 'deny'), { 'aria-pressed': state === 'denied' }))),
    h('p', { class: 'card-why', title: why ?? '' }, score && h('b', {}, score), why ?? `frames ${shot.first} to ${shot.last}`));
  }

  /** Mark the card of the shot that is shown. */
  point() {
    const shot = this.store.shotAt(this.store.frame);
    this.pointed?.classList.remove('current');
    this.pointed = this.drawn.get(shot?.first ?? -1)?.element;
    this.pointed?.classList.add('current');
  }
}
