// Starts the page: finds out who uses it, and shows the view that the address names.

import { byId, say } from "./dom.js";
import { closeJob, openJob, setUpJob } from "./job.js";
import { clearJobs, hideJobs, refreshJobs, setUpJobs } from "./jobs.js";
import { currentSession, setUpLogin } from "./login.js";
import { setUpUpload } from "./upload.js";

const VIEWS = ["failure", "login", "home", "job"];
let session = null;
let shown = null;

function show(view, { focus = true } = {}) {
  if (view !== "home") hideJobs();
  if (view !== "job") closeJob();
  for (const name of VIEWS) byId(name).hidden = name !== view;
  if (focus && shown !== null && shown !== view) byId(view).querySelector("h1").focus();
  shown = view;
  if (view !== "job") document.title = "videoqueue";
}

/** Returns what the part of the address behind # names: a job and a moment in seconds. */
function place() {
  const given = new URLSearchParams(location.hash.slice(1));
  const time = Number.parseFloat(given.get("t") ?? "");
  return { job: given.get("job"), time: Number.isFinite(time) ? Math.max(0, time) : null };
}

function route() {
  if (session === null) return;
  const { job, time } = place();
  if (job) {
    show("job");
    openJob(job, time, session);
  } else {
    show("home");
    refreshJobs();
  }
}

function enter(found) {
  session = found;
  say(byId("owner"), found.owner);
  byId("logout").hidden = !found.has_session;
  const maySubmit = found.scopes.includes("submit");
  byId("upload").hidden = !maySubmit;
  setUpUploadOnce(maySubmit);
  route();
}

let isUploadReady = false;
function setUpUploadOnce(maySubmit) {
  if (isUploadReady || !maySubmit) return;
  isUploadReady = true;
  setUpUpload();
}

function leave() {
  session = null;
  clearJobs();
  byId("logout").hidden = true;
  say(byId("owner"), null);
  show("login");
  byId("login-key").focus();
}

async function start() {
  try {
    const found = await currentSession();
    if (found === null) leave();
    else enter(found);
  } catch (error) {
    say(byId("failure-text"), error.message);
    show("failure");
  }
}

// The address keeps the job.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
setUpLogin(enter);
setUpJobs(() => session);
setUpJob();
byId("failure-again").addEventListener("click", start);
document.addEventListener("unauthorized", () => session !== null && leave());
window.addEventListener("hashchange", route);
start();
