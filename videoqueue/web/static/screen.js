// The player with its overlay, timeline, search and choices: what is shown follows the frame of the player.

import { announce, byId, make, oncePerPicture, say } from "./dom.js";
import { exportLinks } from "./exports.js";
import { TEXT } from "./findings.js";
import { clock, momentOf } from "./format.js";
import { boxesOf, listOf } from "./frame.js";
import { setUpKeys } from "./keys.js";
import { Overlay } from "./overlay.js";
import { Player } from "./player.js";
import { SegmentList } from "./segments.js";
import { Timeline } from "./timeline.js";
import { Trouble } from "./trouble.js";

export function setUpScreen(isActive, onMoment) {
  return new Screen(isActive, onMoment);
}

class Screen {
  constructor(isActive, onMoment) {
    this.player = new Player(byId("video"));
    this.trouble = new Trouble(this.player);
    this.overlay = new Overlay(byId("overlay"), byId("video"));
    this.segments = new SegmentList((time) => this.player.seek(time));
    this.timeline = new Timeline(
      { lanes: byId("lanes"), canvas: byId("lanes-picture"), playhead: byId("playhead"), pan: byId("pan") },
      (time) => this.player.seek(time),
    );
    this.player.frameAt = (time) => this.results?.timeOf(time) ?? null;
    this.results = null;
    this.findings = null;
    this.job = null;
    this.onMoment = onMoment;
    this.showChoices = oncePerPicture(() => this.#showChoices());
    this.#followPlayer();
    this.#setUpControls();
    this.#setUpChoices();
    setUpKeys(isActive, {
      toggle: () => this.player.toggle(),
      move: (seconds) => this.player.seek(this.player.time + seconds),
      step: (direction) => this.step(direction),
      search: () => byId("search").focus(),
    });
  }

  open(url, time) {
    this.player.load(url);
    if (time !== null) this.player.seek(time);
    this.timeline.showAll();
    this.job = null;
    this.trouble.reset();
    this.refresh();
  }

  close() {
    this.player.unload();
    this.results = this.findings = this.job = null;
    this.timeline.setFindings(null);
    this.segments.show(null);
    byId("search").value = "";
    byId("in-frame-part").hidden = true;
    byId("link-row").hidden = true;
    this.overlay.draw([], null);
  }

  setJob(job, codec) {
    this.job = job;
    this.overlay.setFrame(job.video.width, job.video.height);
    this.player.knownDuration = job.video.duration;
    this.timeline.setDuration(this.player.duration ?? job.video.duration);
    this.trouble.setVideo(job.video, codec);
  }

  setResults(results) {
    this.results = results;
    this.refresh();
  }

  setFindings(findings, job) {
    this.findings = findings;
    findings.least = Number(byId("confidence").value);
    findings.search(byId("search").value); // typed while the segments were loaded
    byId("search").disabled = !findings.hasTexts;
    this.#makeToggles();
    byId("exports").replaceChildren(...exportLinks(job, findings.least));
    this.#showChoices();
    setTimeout(() => findings.prepareSearch());
  }

  /** Draws what belongs to the frame shown. */
  refresh() {
    const time = this.#time();
    const found = this.results?.at(time) ?? null;
    const item = found?.item ?? null;
    const boxes = item ? boxesOf(item.result, this.findings, byId("confidence").value) : [];
    this.overlay.draw(boxes, item ? { index: item.frame_index, isExact: found.isExact } : null);
    const frame = item && found.isExact ? `, frame ${item.frame_index}` : "";
    byId("clock").textContent = `${clock(time, 3)} / ${clock(this.player.duration ?? 0)}${frame}`;
    this.timeline.setTime(time, !this.player.isPaused);
    this.segments.mark(time);
    const isStill = this.player.isPaused && this.results !== null;
    byId("in-frame-part").hidden = !isStill;
    if (isStill) byId("in-frame").replaceChildren(...listOf(boxes, found, this.results.isLoaded(time)));
  }

  /** Returns the time of the frame shown; without a picture, that of the last frame before the moment chosen. */
  #time() {
    const { player } = this;
    return (player.isPlayable ? null : this.results?.timeOf(player.time)) ?? player.time;
  }

  /** Shows the next processed frame, or the previous one for -1. */
  async step(direction) {
    const { player } = this;
    player.video.pause();
    let time = this.#time() + direction / (this.job?.video.fps || 25);
    if (this.results) {
      try {
        time = await this.results.neighbour(this.#time(), direction);
      } catch (error) {
        if (error.name !== "AbortError") say(byId("job-error"), error.message);
        return;
      }
    }
    if (time !== null) player.seek(time);
    else announce(direction > 0 ? "This is the last frame." : "This is the first frame.");
  }

  #followPlayer() {
    const remember = () => {
      if (this.player.isSettled && this.job) this.onMoment(this.player.time);
    };
    this.player.addEventListener("settled", remember);
    this.player.addEventListener("frame", () => {
      this.refresh();
      remember();
    });
    this.player.addEventListener("state", () => {
      const isPlaying = !this.player.isPaused;
      byId("play").textContent = isPlaying ? "Pause" : "Play";
      byId("mute").setAttribute("aria-pressed", String(this.player.video.muted));
      this.timeline.setDuration(this.player.duration);
      this.refresh();
      remember();
    });
  }

  #setUpControls() {
    const { player, timeline } = this;
    byId("play").addEventListener("click", () => player.toggle());
    byId("stage").addEventListener("click", () => player.toggle());
    byId("step-back").addEventListener("click", () => this.step(-1));
    byId("step-on").addEventListener("click", () => this.step(1));
    byId("mute").addEventListener("click", () => (player.video.muted = !player.video.muted));
    byId("zoom-in").addEventListener("click", () => timeline.zoom(0.5));
    byId("zoom-out").addEventListener("click", () => timeline.zoom(2));
    byId("zoom-all").addEventListener("click", () => timeline.showAll());
    byId("full").hidden = !document.fullscreenEnabled;
    byId("full").addEventListener("click", () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else byId("stage").requestFullscreen().catch(() => announce("Full screen is not available."));
    });
    byId("copy-link").addEventListener("click", () => this.#showLink());
  }

  #showLink() {
    if (!this.job) return;
    const field = byId("link");
    field.value = new URL(momentOf(this.job.job_id, this.player.time), location.href);
    byId("link-row").hidden = false;
    field.focus();
    field.select();
    // Over http in a network there is no clipboard; the link can be copied from the field.
    navigator.clipboard?.writeText(field.value).then(() => announce("The link is copied."), () => {});
  }

  #setUpChoices() {
    byId("confidence").addEventListener("input", () => {
      byId("confidence-shown").textContent = byId("confidence").value;
      if (!this.findings) return;
      this.findings.least = Number(byId("confidence").value);
      byId("exports").replaceChildren(...exportLinks(this.job, this.findings.least));
      this.showChoices();
    });
    byId("search").addEventListener("input", () => {
      this.findings?.search(byId("search").value);
      this.showChoices();
    });
    byId("search").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      const time = this.segments.next(this.player.time);
      if (time !== null && this.findings?.query) this.player.seek(time);
    });
  }

  #makeToggles() {
    const { findings } = this;
    const kinds = [...findings.labels, ...(findings.hasTexts ? [TEXT] : [])];
    byId("toggles").replaceChildren(
      ...kinds.map((kind) => {
        const box = make("input", { type: "checkbox", checked: true });
        box.addEventListener("change", () => {
          if (box.checked) findings.hidden.delete(kind);
          else findings.hidden.add(kind);
          this.showChoices();
        });
        const swatch = make("span", { class: `swatch color-${findings.color(kind)}`, "aria-hidden": "true" });
        return make("label", { class: "toggle" }, box, swatch, kind === TEXT ? "text" : make("bdi", {}, kind));
      }),
    );
    byId("toggles").closest("fieldset").hidden = kinds.length === 0;
  }

  #showChoices() {
    if (!this.findings) return;
    this.timeline.setFindings(this.findings);
    this.segments.show(this.findings);
    this.refresh();
  }
}
