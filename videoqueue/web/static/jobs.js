// The list of jobs, newest first. Jobs that have not ended are asked for until they do.

import { getJsonPatiently, poll, post, send } from "./api.js";
import { announce, byId, confirmDeletion, make, say } from "./dom.js";
import { nameOf, stateOf, when } from "./format.js";

const PAGE = 50;
/** How many jobs are asked for at once. The others get their turn when one of these ends. */
const WATCHED = 6;
const ENDED = new Set(["completed", "failed"]);

let sessionOf = () => null;
let stopper = null;
let nextToken = null;
let queue = [];
let watched = 0;
const rows = new Map();

export function setUpJobs(session) {
  sessionOf = session;
  byId("jobs-more").addEventListener("click", () => loadPage(nextToken));
}

/** Loads the first page anew. */
export function refreshJobs() {
  hideJobs();
  stopper = new AbortController();
  return loadPage(null);
}

export function hideJobs() {
  stopper?.abort();
  stopper = null;
  queue = [];
  watched = 0;
}

/** Forgets the jobs of who has logged out. */
export function clearJobs() {
  hideJobs();
  rows.clear();
  byId("jobs").replaceChildren();
}

const complain = (error) => say(byId("jobs-error"), error.message);

async function loadPage(token) {
  const { signal } = stopper;
  const list = byId("jobs");
  say(byId("jobs-error"), null);
  try {
    const path = `/jobs?page_size=${PAGE}${token ? `&page_token=${token}` : ""}`;
    const page = await getJsonPatiently(path, signal, complain);
    say(byId("jobs-error"), null);
    if (token === null) {
      list.replaceChildren();
      rows.clear();
    }
    nextToken = page.next_page_token;
    for (const job of page.jobs.filter((found) => !rows.has(found.job_id))) list.append(rowOf(job));
    byId("jobs-more").hidden = nextToken === null;
    showWhetherEmpty();
    queue.push(...page.jobs.filter((job) => !ENDED.has(job.status)).map((job) => job.job_id));
    watchMore(signal);
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  }
}

function showWhetherEmpty() {
  byId("jobs-empty").hidden = byId("jobs").childElementCount > 0;
}

async function watchMore(signal) {
  while (watched < WATCHED && queue.length && !signal.aborted) {
    const jobId = queue.shift();
    watched += 1;
    watch(jobId, signal).finally(() => {
      if (signal.aborted) return;
      watched -= 1;
      watchMore(signal);
    });
  }
}

async function watch(jobId, signal) {
  try {
    await poll(`/jobs/${jobId}`, (job) => {
      update(job);
      say(byId("jobs-error"), null);
      if (ENDED.has(job.status)) announce(`${nameOf(job)}: ${stateOf(job)}`);
    }, signal, complain);
  } catch (error) {
    if (error.name !== "AbortError" && error.status === 404) removeRow(jobId);
  }
}

function rowOf(job) {
  const state = make("span", { class: "state" });
  const progress = make("progress", { max: 1, "aria-label": "Progress" });
  const reason = make("span", { class: "error reason" });
  const retry = make("button", { type: "button", click: () => retryJob(job.job_id) }, "Retry");
  const remove = make("button", { type: "button", click: () => deleteRow(job.job_id) }, "Delete");
  const row = make(
    "li",
    {},
    make("a", { class: "name", href: `#job=${job.job_id}` }, nameOf(job)),
    make("span", { class: "quiet" }, `${job.pipeline_id}, ${when(job.created_at)}`),
    make("span", { class: "row" }, state, progress),
    make("span", { class: "row actions" }, retry, remove),
    reason,
  );
  for (const button of [retry, remove]) {
    button.setAttribute("aria-label", `${button.textContent} ${nameOf(job)}`);
  }
  rows.set(job.job_id, { row, job, state, progress, reason, retry, remove });
  update(job);
  return row;
}

function update(job) {
  const parts = rows.get(job.job_id);
  if (!parts) return;
  const maySubmit = sessionOf()?.scopes.includes("submit");
  parts.job = job;
  parts.state.textContent = stateOf(job);
  parts.state.dataset.state = job.status;
  parts.progress.value = job.progress;
  parts.progress.hidden = job.status !== "running";
  say(parts.reason, job.error_message);
  parts.retry.hidden = job.status !== "failed" || !maySubmit;
  parts.remove.hidden = !maySubmit;
}

async function deleteRow(jobId) {
  const { row, job, remove } = rows.get(jobId);
  const next = row.nextElementSibling ?? row.previousElementSibling;
  if (await deleteJob(job, (text) => say(byId("jobs-error"), text))) {
    removeRow(jobId);
    (next?.querySelector("a") ?? byId("jobs-title")).focus();
  } else {
    remove.focus();
  }
}

function removeRow(jobId) {
  rows.get(jobId)?.row.remove();
  rows.delete(jobId);
  showWhetherEmpty();
}

/** Deletes a job after a question. Returns whether it is gone. */
export async function deleteJob(job, complain) {
  if (!(await confirmDeletion(nameOf(job)))) return false;
  try {
    await send(`/jobs/${job.job_id}`, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) {
      complain(error.message);
      return false;
    }
  }
  announce(`${nameOf(job)} is deleted.`);
  return true;
}

async function retryJob(jobId) {
  try {
    await retry(jobId);
    await refreshJobs();
    byId("jobs-title").focus();
  } catch (error) {
    complain(error);
  }
}

/** Makes a new job from a failed one. Returns its id. */
export async function retry(jobId) {
  const response = await post(`/jobs/${jobId}/retry`);
  const { job_id: again } = await response.json();
  announce("The job is submitted again.");
  return again;
}
