// Changes of the project: prompts, locks, verdicts, tracking. Each is sent to the server, which saves it.

import { ApiError, newOp } from './api.js';
import { toast } from './dialogs.js';
import { encodeRuns } from './masks.js';

/** @typedef {import('./tools.js').Click} Click */

const UNANSWERED = 3; // times that an edit is sent again if the server did not answer
const PAUSE = 700; // milliseconds before that

/** @param {Click[]} clicks */
export const pointsOf = clicks => clicks.map(({ x, y, positive }) => [x, y, positive ? 1 : 0]);

export class Edits {
  /** @param {import('./page.js').Page} page */
  constructor(page) {
    this.page = page;
    this.store = page.store;
    /** Edits are sent one after another, so that each knows the revision of the one before. @type {Promise<any>} */
    this.queue = Promise.resolve();
  }

  /** @param {Click} click */
  addClick(click) {
    const { store, page } = this, object = store.selected || store.nextId(), frame = store.frame, op = newOp();
    const known = page.stage.masks.some(mask => mask.id === object && mask.runs.length > 1);
    this.change(async () => {
      // Read when the edit is sent: an edit before it, or another tab, may have added clicks.
      const now = store.promptsOn(frame).get(object);
      if (!click.positive && !now && !known) throw new Error('Mark the object with a positive click first.');
      const points = pointsOf([...(now?.clicks ?? []), click]);
      return page.project.edit(store.rev, { type: 'prompt', object, frame, points, box: now?.box ?? null }, op);
    }, object);
  }

  /** @param {{points: number[][], box: number[] | null}} prompt */
  prompt(prompt) {
    const { store } = this, object = store.selected || store.nextId();
    this.send({ type: 'prompt', object, frame: store.frame, ...prompt }, object);
  }

  /** Replace the mask of the chosen object on this frame. @param {number[]} runs */
  paint(runs) {
    const { store, page } = this, object = store.selected || store.nextId(), frame = store.frame, op = newOp();
    if (runs.length < 2) {
      page.stage.painting = null;
      return toast('The mask is empty. Deny the shot if the object is not in it.');
    }
    this.change(() => page.project.paint(store.rev, frame, object, encodeRuns(runs), op), object);
  }

  /** Remove the prompt of the chosen object on this frame. */
  clear() {
    const { store } = this;
    if (store.promptsOn(store.frame).has(store.selected)) this.send({ type: 'clear', object: store.selected, frame: store.frame });
  }

  /** @param {number} object */
  lock(object) {
    const { store } = this;
    if (!object) return toast('Choose an object first.');
    this.send({ type: store.isLocked(object, store.frame) ? 'unlock' : 'lock', object, from: store.frame, to: store.frame });
  }

  /** Confirm or deny the object of a shot, and go on to the next doubtful one. @param {import('./store.js').Shot | null} shot @param {'confirm' | 'deny'} verdict */
  async decide(shot, verdict) {
    const { store, page } = this, card = shot && store.stateOfShot(shot).card;
    if (!shot || !card) return toast('Nothing is tracked in this shot yet.');
    const again = card.verdict === (verdict === 'confirm' ? 'confirmed' : 'denied');
    await this.send({ type: again ? 'undecide' : verdict, object: card.object, from: shot.first, to: shot.last });
    await page.readShots().catch(() => {});
    const next = store.shots.map(each => store.stateOfShot(each)).filter(each => each.doubtful)
      .sort((a, b) => (b.card?.doubt ?? 0) - (a.card?.doubt ?? 0))[0];
    if (next?.card && !again) page.goTo(next.card.best);
  }

  /** @param {'undo' | 'redo'} way */
  async journal(way) {
    const { store, page } = this, op = newOp();
    if (!store.project?.[way]) return;
    await this.change(() => page.project.post(`/${way}`, { op, rev: store.rev }));
    page.showMasks(true);
  }

  /** Send an edit after those before it. @param {object} edit @param {number} [object] chosen afterwards */
  send(edit, object) {
    const op = newOp();
    return this.change(() => this.page.project.edit(this.store.rev, edit, op), object);
  }

  /** @param {() => Promise<any>} call @param {number} [object] */
  change(call, object) {
    const { store, page } = this;
    this.queue = this.queue.then(async () => {
      try {
        store.edited(await this.answered(call));
        if (object) page.select(object);
        document.body.dataset.rev = String(store.rev); // for tests: the page shows this revision
        page.refreshShots();
      } catch (error) {
        page.stage.preview = page.stage.painting = null;
        page.stage.redraw();
        page.fail(/** @type {Error} */ (error));
      }
    });
    return this.queue;
  }

  /** Repeat a call that got no answer, or that another tab was quicker than. @param {() => Promise<any>} call */
  async answered(call) {
    for (let left = UNANSWERED; ; left--) {
      try {
        return await call();
      } catch (error) {
        const status = error instanceof ApiError ? error.status : -1;
        if (!left || (status !== 0 && status !== 409)) throw error;
        if (status === 409) this.store.edited(await this.page.project.load());
        else await new Promise(done => setTimeout(done, PAUSE));
      }
    }
  }

  /** @param {'forward' | 'backward' | 'both'} direction */
  async track(direction) {
    const { store, page } = this;
    if (!store.objectList().some(object => object.prompts.length)) return toast('Mark an object first: rest the pointer on it and click.');
    await this.queue;
    try {
      page.following = !store.playing;
      store.setJob(await page.project.post('/jobs', { kind: 'track', from: store.frame, to: null, direction, objects: null, again: false }));
    } catch (error) {
      page.fail(/** @type {Error} */ (error));
    }
  }

  stop() {
    const { store, page } = this;
    for (const job of store.jobs.filter(each => each.kind === 'track')) {
      page.project.stop(job.id).then(reply => store.setJob(reply), error => page.fail(error));
    }
  }
}
