// The timeline: a lane for each label and lanes for texts; click or drag to seek, zoom with buttons or the wheel.

import { oncePerPicture } from "./dom.js";
import { TEXT } from "./findings.js";
import { clock } from "./format.js";
import { View, scaleStep } from "./view.js";

const LANE = 18;
const SCALE = 20;
/** Around the name of a lane. */
const PADDING = 8;
const MOST_TEXT_LANES = 4;
const EPSILON = 1e-6;

export class Timeline {
  /** @param parts the elements `lanes`, `canvas`, `playhead`, `pan`; `onSeek` gets the time. */
  constructor({ lanes, canvas, playhead, pan }, onSeek) {
    Object.assign(this, { lanes, canvas, playhead, pan, onSeek });
    this.view = new View();
    this.rows = [];
    this.findings = null;
    this.time = 0;
    this.redraw = oncePerPicture(() => this.#draw());
    new ResizeObserver(this.redraw).observe(lanes);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.redraw);
    this.#listen();
  }

  setDuration(duration) {
    if (!duration || duration === this.view.duration) return;
    this.view.setDuration(duration);
    this.lanes.setAttribute("aria-valuemax", duration.toFixed(1));
    this.redraw();
  }

  setFindings(findings) {
    this.findings = findings;
    this.rows = findings ? rowsOf(findings) : [];
    this.redraw();
  }

  setTime(time, follow) {
    this.time = time;
    this.lanes.setAttribute("aria-valuenow", time.toFixed(1));
    this.lanes.setAttribute("aria-valuetext", clock(time));
    if (follow && this.view.duration && this.view.reveal(time)) this.redraw();
    this.#placeHead();
  }

  zoom(factor) {
    this.view.zoom(factor, Math.min(Math.max(this.time, this.view.from), this.view.to));
    this.redraw();
  }

  showAll() {
    this.view.showAll();
    this.redraw();
  }

  get #gutter() {
    return this.rows.length ? Math.min(110, this.lanes.clientWidth * 0.25) : 0;
  }

  #x(time) {
    const room = this.lanes.clientWidth - this.#gutter;
    return this.#gutter + ((time - this.view.from) / this.view.span) * room;
  }

  #timeAt(event) {
    const { left } = this.lanes.getBoundingClientRect();
    const share = (event.clientX - left - this.#gutter) / (this.lanes.clientWidth - this.#gutter);
    return this.view.from + Math.min(1, Math.max(0, share)) * this.view.span;
  }

  #listen() {
    const seek = (event) => this.view.duration && this.onSeek(this.#timeAt(event));
    this.lanes.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.lanes.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.lanes.addEventListener("pointermove", (event) => {
      if (this.lanes.hasPointerCapture(event.pointerId)) seek(event);
    });
    this.lanes.addEventListener(
      "wheel",
      (event) => {
        if (event.ctrlKey) this.view.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.#timeAt(event));
        else if (event.deltaX && !this.view.isWhole) {
          this.view.moveTo(this.view.from + (event.deltaX / this.lanes.clientWidth) * this.view.span);
        } else return;
        event.preventDefault();
        this.redraw();
      },
      { passive: false },
    );
    this.lanes.addEventListener("keydown", ({ key }) => {
      if (key === "+") this.zoom(0.5);
      if (key === "-") this.zoom(2);
      if (key === "Home") this.onSeek(0);
      if (key === "End") this.onSeek(this.view.duration);
    });
    this.pan.addEventListener("input", () => {
      const room = this.view.duration - this.view.span;
      this.view.moveTo((this.pan.value / 1000) * room);
      this.redraw();
    });
  }

  #placeHead() {
    const x = this.#x(this.time);
    this.playhead.style.transform = `translateX(${x}px)`;
    this.playhead.hidden = !this.view.duration || x < this.#gutter - 1 || x > this.lanes.clientWidth + 1;
  }

  #draw() {
    const width = this.lanes.clientWidth;
    if (!width) return;
    const height = SCALE + Math.max(1, this.rows.length) * LANE;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const style = getComputedStyle(this.lanes);
    this.#drawScale(pen, width, height, style);
    this.rows.forEach((row, at) => this.#drawRow(pen, row, SCALE + at * LANE, width, style));
    this.pan.hidden = this.view.isWhole;
    this.pan.value = (this.view.from / Math.max(1e-6, this.view.duration - this.view.span)) * 1000;
    this.#placeHead();
  }

  #drawScale(pen, width, height, style) {
    const step = scaleStep(this.view.span, width - this.#gutter);
    pen.fillStyle = style.getPropertyValue("--quiet");
    pen.strokeStyle = style.getPropertyValue("--line");
    if (!this.view.duration) return;
    for (let time = Math.ceil(this.view.from / step) * step; time <= this.view.to; time += step) {
      const x = this.#x(time);
      pen.beginPath();
      pen.moveTo(x, SCALE - 5);
      pen.lineTo(x, height);
      pen.stroke();
      if (x < width - 30) pen.fillText(clock(time, step < 1 ? 1 : 0), x + 3, SCALE / 2);
    }
  }

  #drawRow(pen, row, top, width, style) {
    const hasQuery = this.findings.query !== "";
    const gutter = this.#gutter;
    const color = style.getPropertyValue(`--color-${row.color}`);
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.save();
    pen.beginPath();
    pen.rect(0, top, gutter - PADDING, LANE);
    pen.clip();
    pen.fillText(row.name, PADDING, top + LANE / 2);
    pen.restore();
    let drawnTo = -1;
    for (const found of row.ranges) {
      if (found.end < this.view.from || found.start > this.view.to) continue;
      const isHit = this.findings.hits.has(found);
      const left = Math.max(gutter, this.#x(found.start));
      const right = Math.min(width, Math.max(left + 2, this.#x(found.end)));
      if (right <= drawnTo && !isHit) continue; // nothing of it would be seen
      drawnTo = right;
      pen.globalAlpha = hasQuery && !isHit ? 0.25 : 1;
      pen.fillStyle = isHit ? style.getPropertyValue("--hit") : color;
      // A gap shows where one ends and the next begins.
      const gap = right - left > 4 ? 1 : 0;
      pen.fillRect(left, top + 3, right - left - gap, LANE - 6);
    }
    pen.globalAlpha = 1;
  }
}

function rowsOf(findings) {
  const byLabel = new Map();
  const texts = [];
  for (const found of findings.wanted()) {
    if (found.kind === TEXT) texts.push(found);
    else if (byLabel.has(found.kind)) byLabel.get(found.kind).push(found);
    else byLabel.set(found.kind, [found]);
  }
  const rows = [...byLabel].map(([name, ranges]) => ({ name, ranges, color: findings.color(name) }));
  rows.sort((one, other) => (one.name < other.name ? -1 : 1));
  return [...rows, ...textRows(texts)];
}

/** Puts texts that are seen at the same time into several lanes. */
function textRows(texts) {
  const rows = [];
  for (const found of texts) {
    let row = rows.find((free) => free.end <= found.start + EPSILON);
    if (!row && rows.length < MOST_TEXT_LANES) {
      row = { name: rows.length ? "" : "text", ranges: [], end: 0, color: "text" };
      rows.push(row);
    }
    row ??= rows[rows.length - 1];
    row.ranges.push(found);
    row.end = Math.max(row.end, found.end);
  }
  return rows;
}
