// The state of the page: the project as the server told it, and what the reader chose.

import { FrameTable } from './clock.js';

/**
 * @typedef {{frame: number, kind: 'points' | 'box' | 'mask', points: number[][], box: number[] | null}} PromptJson
 * @typedef {{id: number, name: string, color: string, prompts: PromptJson[], locked: number[][],
 *   verdicts: {from: number, to: number, verdict: 'confirmed' | 'denied'}[], states: [number, number, string][]}} ObjectInfo
 * @typedef {{clicks: {x: number, y: number, positive: boolean}[], box: number[] | null, painted: boolean}} Prompt
 * @typedef {{object: number, verdict: 'confirmed' | 'denied' | null, tracked: number, present: number, score: number,
 *   best: number, doubt: number, reasons: string[], concept: string | null}} Card
 * @typedef {{first: number, last: number, cards: Card[]}} Shot
 * @typedef {{state: 'empty' | 'present' | 'absent' | 'confirmed' | 'denied', doubtful: boolean, card: Card | null}} ShotState
 * @typedef {{id: string, kind: string, state: string, done: number, total: number, fps: number | null,
 *   eta: number | null, error: string | null, frame: number}} Job
 * @typedef {'frame' | 'records' | 'objects' | 'prompts' | 'shots' | 'table' | 'job' | 'selection' | 'tool' | 'project' | 'playing'} Topic
 */

/** Names of the states of a frame, in the order of their numbers. */
export const STATES = ['empty', 'tracked', 'stale', 'locked', 'prompted', 'denied'];
const CUT = 1, QUERIED = 2, VISIBLE = 8; // flags of a frame
const PRESENT = 0.5; // half of the scale: below it, absent is more likely

/** What is known of one object on every frame. Presence is negative where nothing is known. */
class Lane {
  constructor() {
    this.length = 0;
    this.presence = new Float32Array(0);
    this.score = new Float32Array(0);
    this.visible = new Uint8Array(0);
    this.stale = new Uint8Array(0);
    this.locked = new Uint8Array(0);
    this.state = new Uint8Array(0);
  }

  /** @param {number} length */
  grow(length) {
    if (length <= this.length) return;
    if (length > this.presence.length) {
      for (const name of /** @type {const} */ (['presence', 'score', 'visible', 'stale', 'locked', 'state'])) {
        const old = this[name], room = 2 * length;
        const larger = old instanceof Float32Array ? new Float32Array(room).fill(-1) : new Uint8Array(room);
        larger.set(old);
        /** @type {any} */ (this)[name] = larger;
      }
    }
    this.length = length;
  }

  /** @param {number} i @param {number} state */
  setState(i, state) {
    this.state[i] = state;
    this.stale[i] = state === 2 ? 1 : 0;
    this.locked[i] = state === 3 ? 1 : 0;
    if (state === 0) this.presence[i] = -1;
  }
}

export class Store {
  constructor() {
    this.open = false;
    this.project = /** @type {any} */ (null);
    this.rev = 0;
    this.size = { width: 16, height: 9 };
    this.aspect = 1; // width of a pixel by its height
    this.table = new FrameTable();
    /** @type {Map<number, ObjectInfo>} */
    this.objects = new Map();
    /** @type {Map<number, Lane>} */
    this.lanes = new Map();
    /** @type {number[]} */
    this.cuts = [];
    /** Frames on which the concept encoder was queried. @type {Set<number>} */
    this.queries = new Set();
    /** @type {Shot[]} */
    this.shots = [];
    /** What was found out of shots for the chosen object. @type {WeakMap<Shot, {chosen: number, found: ShotState}>} */
    this.found = new WeakMap();
    /** @type {{frame: number, object: number, reason: string}[]} */
    this.doubts = [];
    /** Running first, then waiting ones. @type {Job[]} */
    this.jobs = [];
    /** @type {Set<string>} */
    this.finished = new Set();
    this.frame = 0;
    this.selected = 0; // 0: the next prompt makes a new object
    this.tool = /** @type {'click' | 'box' | 'brush' | 'eraser'} */ ('click');
    this.negative = false;
    this.brush = 24; // diameter in video pixels
    this.view = /** @type {'overlay' | 'outline' | 'matte'} */ ('overlay');
    this.masksHidden = false;
    /** @type {Set<number>} */
    this.hidden = new Set();
    this.solo = 0;
    this.playing = false;
    /** @type {Map<Topic, (() => void)[]>} */
    this.listeners = new Map();
    /** @type {Set<Topic>} */
    this.changes = new Set();
  }

  /** Call a function, at most once per animation frame, after changes of these topics. @param {Topic[]} topics @param {() => void} listener */
  on(topics, listener) {
    for (const topic of topics) this.listeners.set(topic, [...(this.listeners.get(topic) ?? []), listener]);
  }

  /** @param {...Topic} topics */
  changed(...topics) {
    if (!this.changes.size) {
      // A page in the background has no animation frames, but its state must go on.
      const run = document.hidden ? (/** @type {() => void} */ f) => setTimeout(f, 100) : requestAnimationFrame;
      run(() => {
        const changes = this.changes;
        this.changes = new Set();
        const calls = new Set([...changes].flatMap(topic => this.listeners.get(topic) ?? []));
        calls.forEach(listener => listener());
      });
    }
    topics.forEach(topic => this.changes.add(topic));
  }

  /** Take over a project from the server. @param {any} project */
  load(project) {
    this.project = project;
    this.open = true;
    this.size = { width: project.video.width, height: project.video.height };
    this.aspect = project.video.pixel_aspect || 1;
    this.cuts = project.cuts;
    this.jobs = project.jobs;
    this.finished.clear();
    this.edited(project);
    if (!this.objects.has(this.selected)) this.selected = project.objects[0]?.id ?? 0;
    this.changed('project', 'objects', 'prompts', 'shots', 'table', 'job', 'selection', 'records', 'frame');
  }

  /** Take over what an edit changed. @param {{rev: number, objects: ObjectInfo[], undo: boolean, redo: boolean}} reply */
  edited(reply) {
    this.rev = reply.rev;
    this.project.undo = reply.undo;
    this.project.redo = reply.redo;
    this.objects = new Map(reply.objects.map(object => [object.id, object]));
    for (const object of reply.objects) this.setStates(object);
    for (const id of this.lanes.keys()) if (!this.objects.has(id)) this.lanes.delete(id);
    if (this.selected && !this.objects.has(this.selected)) this.selected = 0;
    if (this.solo && !this.objects.has(this.solo)) this.solo = 0;
    this.changed('objects', 'prompts', 'records', 'selection', 'project');
  }

  /** @param {{id: number, states: [number, number, string][]}} object */
  setStates({ id, states }) {
    const lane = this.lane(id), known = new Uint8Array(lane.length);
    for (const [from, to, name] of states) {
      lane.grow(to + 1);
      for (let i = from; i <= to; i++) lane.setState(i, STATES.indexOf(name));
      if (from < known.length) known.fill(1, from, to + 1);
    }
    known.forEach((found, i) => found || lane.setState(i, 0));
    this.changed('records');
  }

  /** @param {number} id */
  lane(id) {
    let lane = this.lanes.get(id);
    if (!lane) this.lanes.set(id, (lane = new Lane()));
    return lane;
  }

  /** Four bytes for each frame: state, presence, score, flags. @param {number} id @param {Uint8Array} bytes */
  setLane(id, bytes) {
    const lane = this.lane(id);
    lane.grow(bytes.length / 4);
    for (let i = 0, at = 0; at < bytes.length; i++, at += 4) {
      lane.presence[i] = bytes[at] ? bytes[at + 1] / 255 : -1;
      lane.score[i] = bytes[at + 2] / 255;
      lane.visible[i] = bytes[at + 3] & VISIBLE ? 1 : 0;
      lane.setState(i, bytes[at]);
      if (bytes[at + 3] & QUERIED) this.queries.add(i);
      if (bytes[at + 3] & CUT && i) this.addCut(i);
    }
    this.changed('records');
  }

  /** The result of a frame. @param {any} event */
  addRecord({ i, objects, cut, trigger }) {
    for (const { id, state, presence, score, area } of objects) {
      const lane = this.lane(id);
      lane.grow(i + 1);
      lane.presence[i] = presence;
      lane.score[i] = score;
      lane.visible[i] = area > 0 ? 1 : 0;
      lane.setState(i, STATES.indexOf(state));
    }
    if (cut) this.addCut(cut);
    if (trigger) this.queries.add(i);
    this.changed('records');
  }

  /** @param {number} frame */
  addCut(frame) {
    if (this.cuts.includes(frame)) return;
    this.cuts = [...this.cuts, frame].sort((a, b) => a - b);
    this.changed('shots');
  }

  /** @param {{shots: {from: number, to: number, cards: Card[]}[], doubts: any[]}} reply */
  setShots(reply) {
    this.shots = reply.shots.map(({ from, to, cards }) => ({ first: from, last: to, cards }));
    this.doubts = reply.doubts;
    this.changed('shots');
  }

  /** @param {Job} job */
  setJob(job) {
    if (this.finished.has(job.id)) return; // the reply to a command can come after the event that it led to
    const over = ['done', 'stopped', 'failed'].includes(job.state);
    if (over) this.finished.add(job.id);
    const others = this.jobs.filter(each => each.id !== job.id);
    this.jobs = over ? others : job.state === 'running' ? [job, ...others] : [...others, job];
    this.changed('job');
  }

  /** The tracking job that runs or waits. */
  get job() {
    return this.jobs.find(job => job.kind === 'track') ?? null;
  }

  /** Number of frames known so far. */
  get length() {
    return this.table.length;
  }

  objectList() {
    return [...this.objects.values()];
  }

  /** @param {number} id */
  colorOf(id) {
    return this.objects.get(id)?.color ?? '#e69f00';
  }

  /** The id that the next new object gets. */
  nextId() {
    let id = 1;
    while (this.objects.has(id)) id++;
    return id;
  }

  /** @param {number} id */
  shows(id) {
    return this.solo ? id === this.solo : !this.hidden.has(id);
  }

  /** Prompts of a frame by object. @param {number} frame @returns {Map<number, Prompt>} */
  promptsOn(frame) {
    const found = new Map();
    for (const { id, prompts } of this.objects.values()) {
      for (const each of prompts) {
        if (each.frame !== frame) continue;
        const clicks = (each.points ?? []).map(([x, y, label]) => ({ x, y, positive: label === 1 }));
        found.set(id, { clicks, box: each.box ?? null, painted: each.kind === 'mask' });
      }
    }
    return found;
  }

  /** @param {number} id */
  promptFrames(id) {
    return (this.objects.get(id)?.prompts ?? []).map(prompt => prompt.frame);
  }

  /** @param {number} id @param {number} frame */
  isLocked(id, frame) {
    return (this.objects.get(id)?.locked ?? []).some(([from, to]) => from <= frame && frame <= to);
  }

  /** @param {number} frame */
  shotAt(frame) {
    return this.shots.find(shot => shot.first <= frame && frame <= shot.last) ?? null;
  }

  /**
   * What is known of the chosen object in a shot, or of all objects if none is chosen.
   * @param {Shot} shot @returns {ShotState}
   */
  stateOfShot(shot) {
    const known = this.found.get(shot);
    if (known?.chosen === this.selected) return known.found;
    const found = this.findState(shot);
    this.found.set(shot, { chosen: this.selected, found });
    return found;
  }

  /** @param {Shot} shot @returns {ShotState} */
  findState(shot) {
    const cards = shot.cards.filter(card => !this.selected || card.object === this.selected);
    const card = cards.sort((a, b) => Number(!!a.verdict) - Number(!!b.verdict) || b.doubt - a.doubt)[0] ?? null;
    if (!card) return { state: 'empty', doubtful: false, card };
    const state = card.verdict ?? (card.present ? 'present' : 'absent');
    return { state, doubtful: !card.verdict && card.doubt >= PRESENT, card };
  }
}
