// The list of segments: all that is wanted, or the hits of a search. Each line seeks to its beginning.

import { byId, make, say } from "./dom.js";
import { TEXT } from "./findings.js";
import { clock, percent } from "./format.js";
import { markedSpan } from "./search.js";

/** How many lines are made at once; a button makes more. */
const LINES = 200;

export class SegmentList {
  constructor(onSeek) {
    this.onSeek = onSeek;
    this.shown = [];
    this.made = 0;
    this.current = [];
    byId("segments-more").addEventListener("click", () => {
      const first = this.made;
      this.#makeMore();
      byId("segments").children[first]?.querySelector("button").focus();
    });
  }

  show(findings) {
    this.findings = findings;
    this.shown = findings ? findings.listed() : [];
    this.made = 0;
    this.current = [];
    byId("segments").replaceChildren();
    this.#makeMore();
    this.#explain();
  }

  #explain() {
    const { findings } = this;
    const isEmpty = findings !== null && this.shown.length === 0;
    const notes = [];
    if (findings?.isTruncated) notes.push("This video has more segments than the service makes. The last ones are missing.");
    if (isEmpty && findings.all.length === 0) notes.push("Nothing was found in this video.");
    else if (isEmpty && !findings.query) notes.push("Nothing is left with these choices. Lower the confidence, or show more.");
    say(byId("segments-note"), notes.join(" "));
    const count = this.shown.length;
    byId("hits").textContent = findings?.query
      ? count === 0 ? "No text like this was found." : `${count} ${count === 1 ? "hit" : "hits"}`
      : "";
  }

  #makeMore() {
    const next = this.shown.slice(this.made, this.made + LINES);
    byId("segments").append(...next.map((found) => this.#line(found)));
    this.made += next.length;
    byId("segments-more").hidden = this.made >= this.shown.length;
  }

  #line(found) {
    const isText = found.kind === TEXT;
    const facts = isText ? percent(found.confidence) : `${percent(found.confidence)}, up to ${found.peak_count}`;
    const swatch = make("span", { class: `swatch color-${this.findings.color(found.kind)}`, "aria-hidden": "true" });
    const button = make(
      "button",
      { type: "button", click: () => this.onSeek(found.start) },
      swatch,
      make("span", { class: "times" }, `${clock(found.start)} – ${clock(found.end)}`),
      isText ? this.#text(found) : make("bdi", {}, found.name),
      make("span", { class: "quiet" }, facts),
    );
    return make("li", {}, button);
  }

  #text(found) {
    // The direction of a text must not turn what is around it.
    const shown = make("bdi", { class: "words" });
    const span = this.findings.query ? markedSpan(found.text, this.findings.query) : null;
    if (!span) {
      shown.append(found.text);
      return shown;
    }
    const [from, to] = span;
    shown.append(found.text.slice(0, from), make("mark", {}, found.text.slice(from, to)), found.text.slice(to));
    return shown;
  }

  /** Marks the lines of the segments that a moment is in. */
  mark(time) {
    const lines = byId("segments").children;
    const now = [];
    for (let at = 0; at < this.made && this.shown[at].start <= time + 1e-4; at += 1) {
      if (time < this.shown[at].end) now.push(lines[at]);
    }
    for (const line of this.current) if (!now.includes(line)) line.removeAttribute("aria-current");
    for (const line of now) line.setAttribute("aria-current", "true");
    this.current = now;
  }

  /** Returns the start of the next listed segment after a moment, or of the first one. */
  next(time) {
    const after = this.shown.find((found) => found.start > time + 1e-3);
    return (after ?? this.shown[0])?.start ?? null;
  }
}
