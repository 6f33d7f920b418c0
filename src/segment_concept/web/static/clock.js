// The frame clock: which frame is shown, while paused (stills) and while playing (video or stills).

/** The presentation times of the frames known so far, in seconds, in the order of display. */
export class FrameTable {
  constructor() {
    this.times = new Float64Array(1024);
    this.length = 0;
    this.complete = false;
  }

  /** Store times from a frame on; known ones are overwritten. @param {number} from @param {Float64Array} times */
  set(from, times) {
    const end = from + times.length;
    if (end > this.times.length) {
      const larger = new Float64Array(2 * end);
      larger.set(this.times.subarray(0, this.length));
      this.times = larger;
    }
    this.times.set(times, from);
    this.length = Math.max(this.length, end);
  }

  /** The frame whose time is nearest. @param {number} seconds */
  indexAt(seconds) {
    let low = 0, high = Math.max(0, this.length - 1);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= seconds) low = middle; else high = middle - 1;
    }
    const next = Math.min(low + 1, this.length - 1);
    return this.times[next] - seconds < seconds - this.times[low] ? next : low;
  }

  /** How long a frame is shown. @param {number} index */
  interval(index) {
    if (this.length < 2) return 0.04;
    const i = Math.min(index, this.length - 2);
    return this.times[i + 1] - this.times[i];
  }

  /**
   * The middle of the frame's interval. A seek to the exact time of a frame can show the one before,
   * because the browser rounds times; a seek to the middle cannot.
   * @param {number} index
   */
  middle(index) {
    return this.times[index] + this.interval(index) / 2;
  }
}

const AHEAD = 8; // stills that are requested before they are shown
const SLOW = 1.5; // seconds without a frame after which the reader is told that the film loads

/**
 * Plays from a frame on. While it plays, `show(index, picture)` gets each frame with its picture; `ended` is called when it stops by itself.
 */
export class Player {
  /**
   * @param {FrameTable} table
   * @param {HTMLVideoElement} video
   * @param {{get(index: number): Promise<ImageBitmap>}} stills
   * @param {{show(index: number, picture: CanvasImageSource): void, ended(): void, waiting(slow: boolean): void}} events
   */
  constructor(table, video, stills, events) {
    this.table = table;
    this.video = video;
    this.stills = stills;
    this.events = events;
    this.playing = false;
    this.asVideo = false; // whether the browser can play the file
    /** @type {OffscreenCanvas | undefined} */
    this.copy = undefined;
    this.turn = 0; // counts the starts, so that callbacks of an earlier one do nothing
  }

  /** @param {number} index */
  play(index) {
    this.playing = true;
    this.turn++;
    if (this.asVideo) this.playVideo(index, this.turn);
    else this.playStills(index, this.turn);
  }

  pause() {
    this.playing = false;
    this.turn++;
    this.video.pause();
  }

  /** @param {number} index @param {number} turn */
  async playVideo(index, turn) {
    const { video, table } = this;
    const each = (/** @type {number} */ _now, /** @type {VideoFrameCallbackMetadata} */ data) => {
      if (turn !== this.turn) return;
      const { seconds, picture } = this.grab(data.mediaTime), shown = table.indexAt(seconds);
      if (shown >= index) this.events.show(shown, picture); // the first callbacks can be of an earlier place
      video.requestVideoFrameCallback(each);
    };
    video.requestVideoFrameCallback(each);
    video.onended = () => turn === this.turn && this.stop();
    video.onwaiting = () => setTimeout(() => this.events.waiting(turn === this.turn && video.readyState < 3), SLOW * 1000);
    video.onplaying = () => this.events.waiting(false);
    video.currentTime = table.middle(index);
    try {
      await video.play();
    } catch (error) {
      if (turn !== this.turn) return;
      this.asVideo = false; // the format is not supported after all
      this.playStills(index, this.turn);
    }
  }

  /**
   * A copy of the frame that the video shows, with its time. A busy browser calls back for a frame when it shows the
   * next one already; a `VideoFrame` knows its own time.
   * @param {number} mediaTime of the callback, for browsers without `VideoFrame`
   */
  grab(mediaTime) {
    const { video } = this, width = video.videoWidth, height = video.videoHeight;
    if (this.copy?.width !== width || this.copy.height !== height) this.copy = new OffscreenCanvas(width, height);
    const frame = 'VideoFrame' in window ? new VideoFrame(video) : null;
    this.copy.getContext('2d')?.drawImage(frame ?? video, 0, 0, width, height);
    const seconds = frame ? frame.timestamp / 1e6 : mediaTime;
    frame?.close();
    return { seconds, picture: this.copy };
  }

  /** @param {number} index @param {number} turn */
  async playStills(index, turn) {
    const { table } = this;
    let start = performance.now() / 1000 - table.times[index];
    for (let i = index; i < table.length; i++) {
      for (let next = i; next < Math.min(i + AHEAD, table.length); next++) this.stills.get(next).catch(() => {});
      const late = setTimeout(() => this.events.waiting(turn === this.turn), SLOW * 1000);
      const still = await this.stills.get(i).catch(() => null);
      clearTimeout(late);
      this.events.waiting(false);
      const early = start + table.times[i] - performance.now() / 1000;
      if (early > 0) await new Promise(done => setTimeout(done, early * 1000));
      else start -= early; // a picture that comes late moves the others, none is skipped
      if (turn !== this.turn) return;
      if (still) this.events.show(i, still);
    }
    this.stop();
  }

  stop() {
    this.pause();
    this.events.ended();
  }
}
