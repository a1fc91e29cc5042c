// The video, and which of its frames is shown. A video that the browser cannot play has a time all the same.

/** Seeking to the time of a frame can show the one before, because times are rounded. */
const INTO_FRAME = 0.001;
const EPSILON = 1e-5;
/** The speed at which the next frames are shown one by one, and how long at most, in milliseconds. */
const SLOW = 0.1;
const LONGEST_CREEP = 3000;

export class Player extends EventTarget {
  /** Events: `frame` when another frame is shown, `settled` when it stays, `state` when it plays or pauses, `unplayable`. */
  constructor(video) {
    super();
    this.video = video;
    this.time = 0;
    this.isPlayable = true;
    this.knownDuration = null;
    this.waiting = null;
    this.creep = null;
    /** Returns the time of the frame that has to be shown at a moment; null if it is not known. */
    this.frameAt = () => null;
    for (const name of ["play", "pause", "ended", "volumechange"]) {
      video.addEventListener(name, () => this.#tell("state"));
    }
    video.addEventListener("error", () => video.hasAttribute("src") && this.#fail());
    video.addEventListener("loadedmetadata", () => {
      if (!video.videoWidth) return this.#fail(); // only its sound can be played
      this.#tell("state");
      if (this.waiting !== null) this.seek(this.waiting);
      return undefined;
    });
    video.addEventListener("seeked", () => this.#checkShown());
    this.#watchFrames();
  }

  load(url) {
    this.isPlayable = true;
    this.time = 0;
    this.waiting = null;
    this.isChecked = false;
    this.video.src = url;
  }

  /** Loads the same video again, after an error that may have passed, and shows the same moment. */
  reload() {
    const { time } = this;
    this.load(this.video.src);
    this.seek(time);
  }

  unload() {
    this.#endCreep();
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    this.knownDuration = null;
  }

  get duration() {
    return Number.isFinite(this.video.duration) ? this.video.duration : this.knownDuration;
  }

  get isPaused() {
    return this.video.paused || this.creep !== null;
  }

  /** Whether the frame shown stays: the video is paused, and is not on the way to another frame. */
  get isSettled() {
    return this.video.paused && !this.video.seeking && this.waiting === null && this.creep === null;
  }

  /** Shows the frame at a time in seconds. */
  seek(time) {
    this.#endCreep();
    const end = this.duration ?? Infinity;
    const wanted = Math.min(Math.max(0, time), end);
    if (!this.isPlayable) {
      this.time = wanted;
      this.#tell("frame");
    } else if (this.video.readyState === 0) {
      this.waiting = wanted;
    } else {
      this.waiting = null;
      this.isChecked = false;
      this.video.currentTime = Math.min(wanted + INTO_FRAME, end);
    }
  }

  toggle() {
    if (!this.isPlayable) return;
    this.#endCreep();
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  #watchFrames() {
    const { video } = this;
    if (!("requestVideoFrameCallback" in video)) {
      for (const name of ["timeupdate", "seeked", "loadeddata"]) {
        video.addEventListener(name, () => this.#shown(video.currentTime));
      }
      return;
    }
    const seen = (_now, { mediaTime }) => {
      this.#shown(mediaTime);
      video.requestVideoFrameCallback(seen);
    };
    video.requestVideoFrameCallback(seen);
  }

  /** Checks after a seek of a paused video, whether the right frame is shown, and known to be shown. */
  #checkShown() {
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        const { video } = this;
        if (!this.isSettled || !this.isPlayable) return;
        const wanted = this.frameAt(video.currentTime);
        const isRight = Math.abs((wanted ?? video.currentTime - INTO_FRAME) - this.time) < INTO_FRAME / 2;
        if (isRight) this.#tell("settled");
        else if (!this.isChecked) {
          // A browser can miss to tell that it shows a frame, if that comes right behind another one. No later
          // frame would correct it, so the same seek is done once more.
          this.isChecked = true;
          video.currentTime = Number(video.currentTime);
        } else if (wanted !== null && wanted > this.time) {
          this.#creepTo(wanted);
        } else this.#tell("settled");
      }),
    );
  }

  /**
   * Plays slowly up to a frame. Where the frame rate varies, Chromium takes the mean duration for that of each
   * frame, and shows an earlier one after a seek.
   */
  #creepTo(time) {
    const { video } = this;
    const { playbackRate, muted } = video;
    const timer = setTimeout(() => this.#endCreep(), LONGEST_CREEP);
    this.creep = { time, playbackRate, muted, timer };
    video.muted = true;
    video.playbackRate = SLOW;
    video.play().catch(() => this.#endCreep());
  }

  #endCreep() {
    if (this.creep === null) return;
    const { playbackRate, muted, timer } = this.creep;
    clearTimeout(timer);
    this.video.pause();
    this.video.playbackRate = playbackRate;
    this.video.muted = muted;
    this.creep = null;
  }

  #shown(time) {
    if (!this.isPlayable) return;
    this.time = time;
    if (this.creep !== null && time > this.creep.time - EPSILON) this.#endCreep();
    this.#tell("frame");
  }

  #fail() {
    this.isPlayable = false;
    if (this.waiting !== null) this.time = this.waiting;
    this.waiting = null;
    this.#tell("unplayable");
    this.#tell("frame");
  }

  #tell(name) {
    this.dispatchEvent(new Event(name));
  }
}
