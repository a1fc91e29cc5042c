// The results of frames, by time. They are loaded in windows around the moment shown; few windows are kept, so
// that the page needs as little memory for an hour as for a minute.

import { getJsonPatiently } from "./api.js";

/** Seconds of a window. */
const WINDOW = 10;
/** The maximum number of frames that are kept. */
const MOST_FRAMES = 6000;
/** Milliseconds until a window that could not be loaded is asked for again. */
const AGAIN = 5000;
const EPSILON = 1e-5;

/** Returns the index of the last time that is not after `time`; -1 if there is none. */
export function lastAtOrBefore(times, time) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time + EPSILON) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export class Results {
  /**
   * @param jobId the id of a completed job
   * @param facts `stride` of the processed frames, `fps` and `duration` of the video, null where unknown
   * @param onLoaded called when frames have come
   * @param onFailed called with the error when they have not
   */
  constructor(jobId, facts, onLoaded, onFailed) {
    this.jobId = jobId;
    this.facts = facts;
    this.onLoaded = onLoaded;
    this.onFailed = onFailed;
    this.windows = new Map(); // in the order of their last use
    this.stopper = new AbortController();
  }

  close() {
    this.stopper.abort();
    this.windows.clear();
  }

  /**
   * Returns the result of the frame shown at a time, from what is loaded; asks for what is not.
   *
   * `isExact` tells whether the frame shown is the processed one. With a stride there are frames between
   * processed ones; they get the result of the one before. Returns null where there is none (yet).
   */
  at(time) {
    const index = Math.floor(time / WINDOW);
    this.#want(index);
    const offset = time - index * WINDOW;
    if (offset > WINDOW - 3) this.#want(index + 1);
    if (offset < 0.5) this.#want(index - 1);
    return nearest(this.#around(index), time, this.facts);
  }

  /** Whether everything that decides about this time is loaded. */
  isLoaded(time) {
    return this.windows.get(Math.floor(time / WINDOW))?.times !== undefined;
  }

  /** Returns the time of the last processed frame that is not after a moment, as far as it is loaded. */
  timeOf(time) {
    for (const { times } of this.#around(Math.floor(time / WINDOW)).reverse()) {
      const at = lastAtOrBefore(times, time);
      if (at >= 0) return times[at];
    }
    return null;
  }

  /** Returns the time of the next processed frame (or the previous one, for -1); null if there is none. */
  async neighbour(time, direction) {
    const last = Math.ceil((this.facts.duration ?? time + 60) / WINDOW);
    for (let index = Math.floor(time / WINDOW); index >= 0 && index <= last; index += direction) {
      const { times } = await this.#want(index);
      const at = lastAtOrBefore(times, time);
      if (direction > 0 && at + 1 < times.length) return times[at + 1];
      if (direction < 0) {
        const before = at >= 0 && times[at] >= time - EPSILON ? at - 1 : at;
        if (before >= 0) return times[before];
      }
    }
    return null;
  }

  #around(index) {
    return [index - 1, index, index + 1].map((at) => this.windows.get(at)).filter((found) => found?.times);
  }

  #want(index) {
    if (index < 0) return Promise.resolve({ times: [], items: [] });
    const known = this.windows.get(index);
    if (known) {
      this.windows.delete(index);
      this.windows.set(index, known);
      return known.loading ?? Promise.resolve(known);
    }
    const entry = {};
    this.windows.set(index, entry);
    entry.loading = this.#load(index).then(
      (items) => {
        entry.items = items;
        entry.times = Float64Array.from(items, (item) => item.result.timestamp);
        delete entry.loading;
        this.#forget();
        this.onLoaded();
        return entry;
      },
      (error) => {
        // Each frame asks, and a service that has failed is not asked by each.
        setTimeout(() => this.windows.get(index) === entry && this.windows.delete(index), AGAIN);
        if (error.name !== "AbortError") this.onFailed(error);
        throw error;
      },
    );
    entry.loading.catch(() => {});
    return entry.loading;
  }

  async #load(index) {
    const end = (index + 1) * WINDOW;
    const items = [];
    let from = index * WINDOW;
    while (from !== null && from < end) {
      const path = `/jobs/${this.jobId}/results?from=${from}&to=${end}`;
      const page = await getJsonPatiently(path, this.stopper.signal, this.onFailed);
      for (const item of page.results) items.push(item);
      from = page.next_from;
    }
    return items;
  }

  #forget() {
    let frames = 0;
    for (const { items } of this.windows.values()) frames += items?.length ?? 0;
    for (const [index, { items }] of this.windows) {
      if (frames <= MOST_FRAMES || this.windows.size <= 3) return;
      frames -= items?.length ?? 0;
      this.windows.delete(index);
    }
  }
}

/** Returns the item at a time among windows in order, and whether its frame is the one shown. */
export function nearest(windows, time, facts) {
  let before = null;
  let after = null;
  for (const { times, items } of windows) {
    const at = lastAtOrBefore(times, time);
    if (at >= 0) before = { item: items[at], time: times[at], previous: times[at - 1] ?? before?.time };
    if (after === null && at + 1 < times.length) after = { item: items[at + 1], time: times[at + 1] };
  }
  const half = halfFrame(before, after, facts);
  if (after && after.time - time <= half && (!before || after.time - time < time - before.time)) {
    return { item: after.item, isExact: true };
  }
  if (!before) return null;
  if (time - before.time <= half) return { item: before.item, isExact: true };
  // Between two processed frames, up to where the next one is to be expected.
  const isBetween = facts.stride > 1 && time - before.time < 2 * half * facts.stride;
  return isBetween ? { item: before.item, isExact: false } : null;
}

/** Returns half the time between two frames of the video here: frame rates vary. */
function halfFrame(before, after, { stride, fps }) {
  const gap = before && after ? after.time - before.time : null;
  const earlier = before?.previous === undefined ? null : before.time - before.previous;
  const step = gap ?? earlier ?? (fps ? stride / fps : 0.04 * stride);
  return step / stride / 2;
}
