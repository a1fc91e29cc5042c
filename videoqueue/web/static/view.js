// The part of a video's duration that the timeline shows, in seconds.

/** The shortest part that can be shown. */
const SHORTEST = 0.5;

export class View {
  constructor() {
    this.duration = 0;
    this.from = 0;
    this.to = 0;
  }

  get span() {
    return Math.max(this.to - this.from, 1e-6);
  }

  get isWhole() {
    return this.span >= this.duration - 1e-6;
  }

  setDuration(duration) {
    const isWhole = this.isWhole;
    this.duration = duration;
    if (isWhole) this.showAll();
  }

  showAll() {
    this.from = 0;
    this.to = this.duration;
  }

  /** Shows a part that is `factor` times as long, with the moment `around` where it was. */
  zoom(factor, around) {
    const span = Math.min(this.duration, Math.max(SHORTEST, this.span * factor));
    const share = (around - this.from) / this.span;
    this.#place(around - span * share, span);
  }

  moveTo(from) {
    this.#place(from, this.span);
  }

  /** Moves just so far that a moment is shown. Returns whether it moved. */
  reveal(time) {
    if (time >= this.from && time <= this.to) return false;
    this.#place(time - this.span * 0.1, this.span);
    return true;
  }

  #place(from, span) {
    this.from = Math.min(Math.max(0, from), Math.max(0, this.duration - span));
    this.to = this.from + span;
  }
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];

/** Returns the step of the marks of a scale: the smallest that leaves `room` pixels between two of them. */
export function scaleStep(span, width, room = 64) {
  return STEPS.find((step) => (step / span) * width >= room) ?? 14400;
}
