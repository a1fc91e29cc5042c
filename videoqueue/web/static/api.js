// Requests to the service. An error is a Problem, with the text that the service wrote for people.

export class Problem extends Error {
  constructor(status, code, detail, retryAfter = null) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed a little later. */
  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const UNREACHABLE = "The service cannot be reached. Check the network, or whether it is running.";
/** Seconds until the next attempt after an error that says nothing about it. */
const AGAIN = 5;
const ATTEMPTS = 5;

/** Makes a Problem from the body of an error response. */
export function problemOf(status, text, retryAfter) {
  try {
    const { code, detail } = JSON.parse(text);
    if (typeof detail === "string") return new Problem(status, code, detail, retryAfter);
  } catch {
    // The body of a proxy, say.
  }
  const detail = status ? `The service returned the status ${status} without a reason.` : UNREACHABLE;
  return new Problem(status, "unknown", detail, retryAfter);
}

/** Sends a request. Returns the response if it is a success; a 401 also sends the page to the login. */
export async function send(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", UNREACHABLE);
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  const problem = problemOf(response.status, text, retryAfter(response));
  if (problem.status === 401) document.dispatchEvent(new CustomEvent("unauthorized", { detail: problem }));
  throw problem;
}

export async function getJson(path, signal) {
  const response = await send(path, { signal });
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "broken_off", "The response was broken off. Try again.");
  }
}

/**
 * The same; while the service is busy or cannot be reached, it is asked again.
 * @param failed gets each error that may pass
 */
export async function getJsonPatiently(path, signal, failed = () => {}) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await getJson(path, signal);
    } catch (error) {
      if (!(error instanceof Problem && error.isTemporary) || attempt === ATTEMPTS) throw error;
      failed(error);
      await pause(error.retryAfter ?? AGAIN, signal);
    }
  }
}

export const post = (path, body) =>
  send(path, {
    method: "POST",
    ...(body ? { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {}),
  });

/**
 * Asks again and again, as the service says in Retry-After, until it says no more: then the job has ended.
 * While the page is not visible, it asks nothing.
 * @param failed gets each error that may pass
 */
export async function poll(path, seen, signal, failed = () => {}) {
  for (;;) {
    let wait = AGAIN;
    try {
      const response = await send(path, { signal });
      seen(await response.json());
      wait = retryAfter(response);
      if (wait === null) return;
    } catch (error) {
      if (!(error instanceof Problem && error.isTemporary)) throw error;
      failed(error);
      wait = error.retryAfter ?? AGAIN;
    }
    await pause(wait, signal);
  }
}

function retryAfter(response) {
  const seconds = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  return Number.isFinite(seconds) ? seconds : null;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", resume);
      reject(new DOMException("stopped", "AbortError"));
    };
    const done = () => {
      document.removeEventListener("visibilitychange", resume);
      signal?.removeEventListener("abort", stop);
      resolve();
    };
    const resume = () => document.visibilityState === "visible" && done();
    const timer = setTimeout(() => {
      if (document.visibilityState === "visible") done();
      else document.addEventListener("visibilitychange", resume);
    }, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
