// The page of an open project: which frame it shows, and what the server says about it.

import { ApiError, ProjectApi, follow } from './api.js';
import { FrameTable, Player } from './clock.js';
import { toast } from './dialogs.js';
import { byId, clamp } from './dom.js';
import { Edits, pointsOf } from './edits.js';
import { decodeMasks } from './masks.js';
import { Media } from './media.js';
import { ExplainPanel, ObjectsPanel } from './panels.js';
import { ShotStrip } from './shots.js';
import { Stage } from './stage.js';
import { Store } from './store.js';
import { Timeline } from './timeline.js';
import { Tools } from './tools.js';

const REST = 60; // milliseconds on one frame after which the server prepares it for previews
const OFTEN = 1000; // milliseconds between two requests for the shots
const SILENCE = 1500; // milliseconds without a connection after which the reader is told
const WIDE = 640; // width from which scrubbing shows smaller stills
const FOLLOW = 120; // milliseconds between two frames that are shown while the tracker makes them
const RESTARTED = 'The server was started again. Open the address that it printed; your work is saved.';
const AHEAD = 6; // masks that are requested before they are shown

export class Page {
  constructor() {
    const store = (this.store = new Store());
    this.video = /** @type {HTMLVideoElement} */ (byId('video'));
    this.stage = new Stage(byId('stage'), store);
    const edits = (this.edits = new Edits(this));
    const seek = (/** @type {number} */ frame) => this.goTo(frame), select = (/** @type {number} */ id) => this.select(id);
    const thumbnail = (/** @type {number} */ frame, /** @type {number} */ object) => /** @type {Media} */ (this.media).thumbnail(frame, object);
    this.tools = new Tools(this.stage, store, {
      click: click => edits.addClick(click),
      box: box => edits.prompt({ points: [], box }),
      paint: runs => edits.paint(runs),
      preview: (prompt, signal) => this.preview(prompt, signal),
      select,
    });
    this.timeline = new Timeline({ canvas: byId('timeline'), heads: byId('heads') }, store, { seek: (frame, rough) => this.goTo(frame, rough), select });
    new ShotStrip(store, { seek: frame => this.fix(frame), decide: (shot, verdict) => edits.decide(shot, verdict),
      mark: shot => { this.timeline.marked = shot; this.timeline.draw(); }, thumbnail });
    new ObjectsPanel(store, { edit: edit => edits.send(edit), select, lock: id => edits.lock(id), redraw: () => store.changed('objects') });
    new ExplainPanel(store, { explain: frame => this.project.get(`/explain/${frame}`), seek, thumbnail });
    store.on(['prompts', 'selection', 'objects', 'tool'], () => this.stage.redraw());
    this.lastShots = 0;
    this.direction = 1; // of travel, 1 or -1
    this.following = false; // whether the stage shows what the tracker makes
    this.followed = 0; // when it did last
    this.stage.canvas.addEventListener('pointerdown', () => { this.following = false; });
    this.lost = ''; // a sentence while the server cannot be reached
    this.version = -1; // of the table of times
    /** Draws the list of exports again while it is open. @type {(() => void) | undefined} */
    this.refreshExports = undefined;
    /** @type {number | undefined} */
    this.shotsTimer = undefined;
  }

  /** @returns {ProjectApi} */
  get project() {
    if (!this.api) throw new ApiError('Open a film first.', 400);
    return this.api;
  }

  /** @param {string} id @param {number} frame */
  async open(id, frame = 0) {
    this.close();
    const { store } = this, api = (this.api = new ProjectApi(id));
    const project = await api.load();
    store.table = new FrameTable();
    store.lanes.clear();
    store.queries.clear();
    store.load(project);
    const media = (this.media = new Media(api, store, project.event));
    this.player = new Player(store.table, this.video, media, {
      show: (index, picture) => this.present(index, picture),
      ended: () => this.pause(),
      waiting: slow => this.chip(slow ? 'The film is loading…' : ''),
    });
    this.player.asVideo = !!project.video.mime && this.video.canPlayType(project.video.mime) !== '';
    if (this.player.asVideo) this.video.src = api.videoUrl;
    byId('start').hidden = true;
    byId('app').hidden = false;
    document.title = `${project.name} – Segment Concept`;
    this.stage.resize();
    this.stage.fit();
    await this.readTable();
    this.goTo(Math.min(frame, Math.max(0, store.length - 1)));
    this.source = follow(api, project.event, {
      event: (name, data, key) => this.heard(name, data, key),
      connected: (now, refused) => this.connection(now, refused),
    });
    await this.readShots();
    await Promise.all(project.objects.map(async (/** @type {any} */ each) => store.setLane(each.id, await api.lane(each.id))));
  }

  close() {
    this.source?.close();
    if (this.store.playing) this.pause();
    this.version = -1;
    this.stage.picture = null;
    this.stage.masks = [];
  }

  /** Read the times of the frames that became known. @returns {Promise<void>} */
  async readTable() {
    const { store } = this, from = store.length, { times, complete, version } = await this.project.table(from);
    if (this.version >= 0 && version !== this.version) {
      this.version = version;
      store.table.length = 0;
      return this.readTable();
    }
    this.version = version;
    store.table.set(from, times);
    store.table.complete = complete;
    store.changed('table');
    if (!from) this.goTo(store.frame);
  }

  async readShots() {
    this.lastShots = Date.now();
    this.store.setShots(await this.project.get('/shots'));
  }

  /** Ask for the shots soon, and not too often. */
  refreshShots() {
    this.shotsTimer ??= setTimeout(() => {
      this.shotsTimer = undefined;
      this.readShots().catch(() => {});
    }, Math.max(50, this.lastShots + OFTEN - Date.now()));
  }

  // What the server says

  /** @param {string} name @param {any} data @param {string} key */
  heard(name, data, key) {
    const { store, media } = this, { project } = store;
    /** @type {Record<string, () => void>} */
    const kinds = {
      edit: () => {
        media?.touch(key, null);
        store.edited(data);
        this.refreshShots();
        this.showMasks();
      },
      frame: () => {
        media?.touch(key, data.i);
        store.addRecord(data);
        if (data.i === store.frame) this.showMasks(true);
        else this.follow(data.i);
        this.refreshShots();
      },
      states: () => data.objects.forEach((/** @type {any} */ each) => store.setStates(each)),
      job: () => this.heardJob(data),
      progress: () => {
        const job = store.jobs.find(each => each.id === data.job);
        if (job) this.heardJob({ ...job, ...data, id: job.id });
      },
      table: () => this.readTable().catch(() => {}),
      reset: () => this.open(project.id, store.frame).catch(error => this.fail(error)),
      error: () => {
        toast(data.error);
        this.tools.forget();
      },
      export: () => this.refreshExports?.(),
      video: () => (project.video = data),
      tracker: () => {
        project.tracker = data;
        if (data.state === 'ready' && this.stage.pointer && store.tool === 'click') this.tools.hover(false);
      },
      project: () => Object.assign(project, data),
    };
    kinds[name]();
    store.changed('project');
  }

  /** @param {import('./store.js').Job} job */
  heardJob(job) {
    this.store.setJob(job);
    if (job.state === 'failed') toast(job.error ?? 'The job failed.');
    if (job.kind === 'export') this.refreshExports?.();
    else this.refreshShots();
  }

  /** @param {boolean} now @param {boolean} refused whether the browser does not try again */
  connection(now, refused) {
    clearTimeout(this.lostTimer);
    const say = (/** @type {string} */ text) => {
      this.lost = text;
      this.store.changed('project');
    };
    if (now) say('');
    else if (refused) say(RESTARTED);
    else this.lostTimer = setTimeout(() => say('The server does not answer. Your work is saved; the page connects again by itself.'), SILENCE);
  }

  // Which frame is shown

  /** Show a frame that the tracker has made, until the reader goes elsewhere. @param {number} frame */
  follow(frame) {
    if (!this.following || this.store.playing || !this.store.job || Date.now() < this.followed + FOLLOW) return;
    this.followed = Date.now();
    this.show(frame, true);
  }

  /** Show a frame that the reader wants, paused. @param {number} frame @param {boolean} rough whether the next one comes at once */
  goTo(frame, rough = false) {
    this.following = false;
    return this.show(frame, rough);
  }

  /** @param {number} frame @param {boolean} rough */
  async show(frame, rough = false) {
    const { store, stage, media } = this;
    if (!store.open || !store.length || !media) return;
    if (store.playing) this.halt();
    const index = clamp(Math.round(frame), 0, store.length - 1);
    if (index !== store.frame) {
      this.direction = index < store.frame ? -1 : 1;
      this.tools.abandon();
    }
    store.frame = index;
    store.changed('frame');
    const token = (this.wanted = {});
    const small = rough && store.size.width > WIDE && !media.stills.values.has(index);
    try {
      const [still, masks] = await Promise.all([small ? this.project.still(index, 480) : media.get(index), media.masksOf(index).catch(() => [])]);
      if (token !== this.wanted || store.playing) return;
      Object.assign(stage, { picture: still, masks, frame: index });
      stage.redraw();
      this.chip('');
    } catch (error) {
      if (token === this.wanted) this.chip(/** @type {Error} */ (error).message);
    }
    clearTimeout(this.restTimer);
    this.restTimer = setTimeout(() => token === this.wanted && this.rest(index, small), REST);
  }

  /** @param {number} index @param {boolean} small */
  rest(index, small) {
    history.replaceState(null, '', `#p=${this.store.project.id}&f=${index}`);
    if (small) return this.show(index);
    this.media?.prefetch(index, this.direction);
    this.project.post('/look', { frame: index }).catch(() => {});
  }

  /** Go to a frame to correct it there. @param {number} frame */
  fix(frame) {
    this.goTo(frame);
    if (this.store.tool !== 'box') this.use('click');
  }

  /** Show the masks of the frame again after they changed. @param {boolean} fresh whether the tracker made them now */
  async showMasks(fresh = false) {
    const { store, stage, media } = this, frame = store.frame;
    const masks = await media?.masksOf(frame).catch(() => null);
    if (!masks || frame !== store.frame || this.tools.gesture === 'paint') return;
    Object.assign(stage, { masks, painting: null });
    if (fresh) stage.preview = null;
    stage.redraw();
  }

  /** Show a frame while playing. @param {number} index @param {CanvasImageSource} picture */
  async present(index, picture) {
    const { store, stage, media } = this;
    store.frame = index;
    Object.assign(stage, { picture, masks: [], frame: index });
    stage.redraw();
    store.changed('frame');
    for (let next = index; next < Math.min(index + AHEAD, store.length); next++) media?.masksOf(next).catch(() => {});
    const masks = await media?.masksOf(index).catch(() => null);
    if (!masks || stage.frame !== index) return;
    stage.masks = masks;
    stage.redraw();
  }

  play() {
    const { store, player } = this;
    if (!store.open || !player) return;
    if (store.playing) return this.pause();
    this.tools.abandon();
    this.wanted = {};
    store.playing = true;
    store.changed('playing');
    player.play(store.frame >= store.length - 1 ? 0 : store.frame);
  }

  halt() {
    this.player?.pause();
    this.store.playing = false;
    this.store.changed('playing', 'frame');
    this.chip('');
  }

  pause() {
    this.halt();
    this.goTo(this.store.frame);
  }

  /** @param {number} step */
  toDoubt(step) {
    const { store } = this, frames = [...new Set(store.doubts.map(doubt => doubt.frame))].sort((a, b) => a - b);
    const found = step > 0 ? frames.find(frame => frame > store.frame) : frames.reverse().find(frame => frame < store.frame);
    if (found === undefined) toast('There is no further doubtful frame in this direction.', 'note');
    else this.goTo(found);
  }

  /** @param {number} step */
  toCut(step) {
    const { store } = this, cuts = [0, ...store.cuts, store.length - 1];
    const found = step > 0 ? cuts.find(frame => frame > store.frame) : cuts.reverse().find(frame => frame < store.frame);
    if (found !== undefined) this.goTo(found);
  }

  // What the reader chooses

  /** @param {number} id */
  select(id) {
    this.store.selected = this.store.objects.has(id) ? id : 0;
    this.tools.forget(false);
    this.store.changed('selection');
  }

  /** @param {Store['tool']} tool */
  use(tool) {
    this.tools.abandon();
    this.store.tool = tool;
    this.store.changed('tool');
  }

  /** @param {{clicks: import('./tools.js').Click[], box: number[] | null}} prompt @param {AbortSignal} signal */
  async preview({ clicks, box }, signal) {
    const { store } = this, { project } = store;
    if (project.trouble || project.read_only || project.tracker.state !== 'ready') return null;
    const request = { frame: store.frame, object: store.selected || null, points: pointsOf(clicks), box };
    return decodeMasks(await this.project.preview(request, signal), store.size.width, store.size.height)[0] ?? null;
  }

  /** A word over the stage. @param {string} text */
  chip(text) {
    byId('chip').hidden = !text;
    byId('chip').textContent = text;
  }

  /** @param {Error} error */
  fail(error) {
    if (!(error instanceof ApiError) || error.status !== 401) return toast(error.message);
    this.lost = RESTARTED;
    this.store.changed('project');
    byId('banner').textContent = this.lost;
    byId('banner').hidden = false;
  }
}
