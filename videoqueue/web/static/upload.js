// The form that submits a video.

import { Problem, getJson, problemOf } from "./api.js";
import { announce, byId, make, say } from "./dom.js";
import { percent, size } from "./format.js";
import { keepLocalVideo } from "./local.js";

let file = null;
let key = null;
let running = null;
let previewUrl = null;

export function setUpUpload() {
  const form = byId("upload-form");
  const input = byId("upload-file");
  input.addEventListener("change", () => choose(input.files[0] ?? null));
  form.addEventListener("input", () => (key = null));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (file && !running) submit(form);
  });
  byId("upload-cancel").addEventListener("click", () => running?.abort());
  byId("upload-preview").addEventListener("error", () => {
    byId("upload-unplayable").hidden = previewUrl === null;
    byId("upload-preview").hidden = true;
  });
  byId("upload-pipeline").addEventListener("change", describePipeline);
  window.addEventListener("beforeunload", (event) => running && event.preventDefault());
  acceptDrops(byId("drop"));
  loadPipelines();
  // The file may have been chosen before this script was there.
  if (input.files.length) choose(input.files[0]);
}

function acceptDrops(zone) {
  // Everywhere: a file that is dropped beside the zone must not replace the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  zone.addEventListener("dragover", () => zone.classList.add("over"));
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("over");
    if (event.dataTransfer.files.length && !running) choose(event.dataTransfer.files[0]);
  });
}

async function loadPipelines() {
  const list = byId("upload-pipeline");
  try {
    const { pipelines } = await getJson("/pipelines");
    list.replaceChildren(
      ...pipelines.map((pipeline) =>
        make(
          "option",
          { value: pipeline.pipeline_id, selected: pipeline.default, "data-about": pipeline.description },
          pipeline.pipeline_id,
        ),
      ),
    );
    describePipeline();
  } catch (error) {
    say(byId("upload-error"), error.message);
  }
}

function describePipeline() {
  byId("pipeline-help").textContent = byId("upload-pipeline").selectedOptions[0]?.dataset.about ?? "";
}

function choose(chosen) {
  file = chosen;
  key = null;
  say(byId("upload-error"), null);
  byId("upload-send").disabled = file === null;
  byId("upload-unplayable").hidden = true;
  const preview = byId("upload-preview");
  if (previewUrl) URL.revokeObjectURL(previewUrl);
  previewUrl = file ? URL.createObjectURL(file) : null;
  preview.hidden = file === null;
  if (file) {
    byId("drop-text").textContent = `${file.name} (${size(file.size)})`;
    preview.src = previewUrl;
    preview.play().catch(() => {}); // it cannot be played, or only after a click
  } else {
    byId("drop-text").textContent = "Drop an MP4 file here, or choose one";
    preview.removeAttribute("src");
    preview.load();
  }
}

async function submit(form) {
  const body = new FormData();
  for (const name of ["pipeline_id", "frame_stride", "max_frames"]) {
    if (form.elements[name].value) body.set(name, form.elements[name].value);
  }
  body.set("file", file);
  key ??= randomKey(); // the same again after an error, so that a video is not accepted twice
  say(byId("upload-error"), null);
  setRunning(true);
  try {
    const { job_id: jobId } = await sendForm(body, key);
    keepLocalVideo(jobId, file);
    announce("The video is submitted.");
    form.reset();
    choose(null);
    describePipeline();
    // Whoever looks at another job meanwhile stays there.
    if (!byId("home").hidden) location.hash = `job=${jobId}`;
  } catch (error) {
    if (error.code === "cancelled") announce("The upload is cancelled.");
    else say(byId("upload-error"), error.message);
  } finally {
    setRunning(false);
  }
}

function setRunning(isRunning) {
  byId("upload-send").disabled = isRunning || file === null;
  byId("upload-cancel").hidden = !isRunning;
  byId("upload-progress").hidden = !isRunning;
  byId("upload-file").disabled = isRunning;
  byId("upload-state").textContent = "";
  if (!isRunning) running = null;
}

/** Sends the form by XMLHttpRequest: fetch does not tell how much is sent. */
function sendForm(body, idempotencyKey) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    running = request;
    request.open("POST", "/video/submit");
    request.setRequestHeader("Idempotency-Key", idempotencyKey);
    request.upload.addEventListener("progress", ({ loaded, total }) => showProgress(loaded, total));
    request.addEventListener("load", () => {
      if (request.status === 202) return resolve(JSON.parse(request.responseText));
      const problem = problemOf(request.status, request.responseText, null);
      if (problem.status === 401) document.dispatchEvent(new CustomEvent("unauthorized"));
      return reject(problem);
    });
    request.addEventListener("error", () => reject(problemOf(0, "", null)));
    request.addEventListener("abort", () => reject(new Problem(0, "cancelled", "")));
    request.send(body);
  });
}

function showProgress(loaded, total) {
  const share = total ? loaded / total : 0;
  byId("upload-progress").value = share * 100;
  byId("upload-state").textContent =
    loaded < total ? `${percent(share)} of ${size(total)}` : "The service checks the video";
}

function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
