// What was found in a video: its segments, which of them are wanted, and their colors.

import { TextIndex } from "./search.js";

const COLORS = 8;
export const TEXT = Symbol("text");

/** All segments of a job with the choices of the user: confidence, labels, and a search. */
export class Findings {
  constructor({ labels, texts, truncated }) {
    this.isTruncated = truncated;
    this.labels = [...new Set(labels.map((found) => found.label))].sort();
    this.all = [
      ...labels.map((found) => ({ ...found, kind: found.label, name: found.label })),
      ...texts.map((found) => ({ ...found, kind: TEXT, name: found.text })),
    ].sort((one, other) => one.start - other.start);
    this.texts = this.all.filter((found) => found.kind === TEXT);
    this.index = null;
    this.least = 0;
    this.hidden = new Set();
    this.query = "";
    this.hits = new Set();
  }

  get hasTexts() {
    return this.texts.length > 0;
  }

  /** Folds the texts, so that the first search is as fast as the others. */
  prepareSearch() {
    this.index ??= new TextIndex(this.texts.map((found) => found.text));
  }

  search(query) {
    this.query = query.trim();
    if (this.query) this.prepareSearch();
    this.hits = new Set(this.query ? this.index.find(this.query).map((at) => this.texts[at]) : []);
  }

  isWanted(kind, confidence) {
    return confidence >= this.least && !this.hidden.has(kind);
  }

  /** Returns the segments that are wanted, sorted by start. */
  wanted() {
    return this.all.filter((found) => this.isWanted(found.kind, found.confidence));
  }

  /** Returns what the list shows: the hits of a search, or all that is wanted. */
  listed() {
    const wanted = this.wanted();
    return this.query ? wanted.filter((found) => this.hits.has(found)) : wanted;
  }

  /** Returns the number of the color of a kind, for the names of CSS. */
  color(kind) {
    return kind === TEXT ? "text" : String(Math.max(0, this.labels.indexOf(kind)) % COLORS);
  }
}
