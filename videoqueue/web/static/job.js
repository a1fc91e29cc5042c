// A job: its state, its player, and what was found in its video.

import { getJsonPatiently, poll } from "./api.js";
import { announce, byId, say } from "./dom.js";
import { Findings } from "./findings.js";
import { codecName, momentOf, nameOf, size, stateOf } from "./format.js";
import { deleteJob, retry } from "./jobs.js";
import { videoUrl } from "./local.js";
import { Results } from "./results.js";
import { setUpScreen } from "./screen.js";

const ENDED = new Set(["completed", "failed"]);

/** Milliseconds without another moment before the address is changed: browsers limit how often that may happen. */
const SETTLE = 250;

let screen = null;
let remembering = null;
let current = null; // {id, job, session, stopper}

export function setUpJob() {
  screen = setUpScreen(() => current !== null, (time) => rememberTime(time));
  byId("job-delete").addEventListener("click", async () => {
    const { job } = current;
    if (await deleteJob(job, complain)) location.hash = "";
  });
  byId("job-retry").addEventListener("click", async () => {
    try {
      location.hash = `job=${await retry(current.id)}`;
    } catch (error) {
      complain(error.message);
    }
  });
}

const complain = (text) => say(byId("job-error"), text);

/** Shows a job, at a moment in seconds; null for the beginning, or where it is already. */
export function openJob(id, time, session) {
  clearTimeout(remembering);
  if (current?.id === id) {
    if (time !== null) screen.player.seek(time);
    return;
  }
  closeJob();
  const stopper = new AbortController();
  current = { id, job: null, session, stopper };
  byId("job-name").textContent = "Job";
  complain(null);
  byId("job-body").hidden = false;
  for (const part of ["job-state", "job-facts"]) byId(part).textContent = "";
  for (const part of ["job-progress", "job-retry", "job-delete", "findings"]) byId(part).hidden = true;
  screen.open(videoUrl(id), time);
  byId("job-name").focus();
  follow(id, stopper.signal);
}

export function closeJob() {
  if (current === null) return;
  current.stopper.abort();
  current = null;
  screen.close();
}

async function follow(id, signal) {
  try {
    await poll(`/jobs/${id}`, showJob, signal, (error) => complain(error.message));
    if (signal.aborted) return;
    if (current.job.status === "completed") await showFindings(current.job, signal);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (error.status === 404 && current.job === null) {
      byId("job-name").textContent = "No such job";
      byId("job-body").hidden = true;
    }
    complain(error.message);
  }
}

function showJob(job) {
  const before = current.job;
  current.job = job;
  const maySubmit = current.session.scopes.includes("submit");
  byId("job-name").textContent = nameOf(job);
  document.title = `${nameOf(job)} – videoqueue`;
  byId("job-state").textContent = stateOf(job);
  byId("job-state").dataset.state = job.status;
  byId("job-progress").hidden = ENDED.has(job.status);
  byId("job-progress").value = job.progress;
  byId("job-facts").textContent = factsOf(job);
  byId("job-delete").hidden = !maySubmit;
  byId("job-retry").hidden = job.status !== "failed" || !maySubmit;
  complain(job.status === "failed" ? job.error_message : null);
  if (before && before.status !== job.status) announce(`The job is ${stateOf(job)}.`);
  screen.setJob(job, codecName(job.video.codec));
}

function factsOf(job) {
  const { width, height, fps, codec, bytes } = job.video;
  return [
    job.pipeline_id,
    job.frame_stride > 1 ? `every ${job.frame_stride}th frame` : null,
    job.max_frames ? `at most ${job.max_frames} frames` : null,
    width && height ? `${width} × ${height}` : null,
    fps ? `${Math.round(fps * 100) / 100} frames/s` : null,
    codecName(codec),
    size(bytes),
    job.damaged_frames ? `${job.damaged_frames} damaged frames` : null,
  ]
    .filter(Boolean)
    .join(", ");
}

async function showFindings(job, signal) {
  const { fps, duration } = job.video;
  const facts = { stride: job.frame_stride, fps, duration };
  const failed = (error) => signal.aborted || complain(error.message);
  const loaded = () => {
    complain(null);
    screen.refresh();
  };
  const results = new Results(job.job_id, facts, loaded, failed);
  signal.addEventListener("abort", () => results.close(), { once: true });
  screen.setResults(results); // the frame shown does not wait for the segments
  byId("findings").hidden = false;
  say(byId("segments-note"), "The segments are being made.");
  const found = await getJsonPatiently(`/jobs/${job.job_id}/segments`, signal, failed);
  complain(null);
  screen.setFindings(new Findings(found), job);
}

/** Keeps the moment in the address, so that it can be shared, without a step in the history. */
function rememberTime(time) {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    if (current !== null) history.replaceState(null, "", momentOf(current.id, time));
  }, SETTLE);
}
