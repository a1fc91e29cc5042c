// Numbers and states as people read them.

/** Returns seconds as 1:02:03.4; with the tenths only if `digits` is 1 or more. */
export function clock(seconds, digits = 1) {
  const scale = 10 ** digits;
  const whole = Math.max(0, Math.round(seconds * scale)) / scale;
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export const percent = (share) => `${Math.round(share * 100)} %`;

export const when = (time) =>
  new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

const WAITING = {
  worker: "waiting for a free worker",
  retry: "waiting for another attempt",
  owner_limit: "waiting until one of your running jobs ends",
};

/** Returns the state of a job in words. */
export function stateOf(job) {
  if (job.status === "pending") return WAITING[job.waiting_for] ?? "waiting";
  if (job.status === "running") return `running, ${percent(job.progress)}`;
  return job.status;
}

/** Returns how people may know a job: its name, or the beginning of its id. */
export const nameOf = (job) => job.name ?? `Job ${job.job_id.slice(0, 8)}`;

/** Returns the part of the address behind # for a job and a moment in seconds. */
export const momentOf = (jobId, time) => `#job=${jobId}&t=${time.toFixed(3)}`;

const CODECS = {
  av1: "AV1",
  h264: "H.264",
  hevc: "HEVC (H.265)",
  mjpeg: "Motion JPEG",
  mpeg1video: "MPEG-1",
  mpeg2video: "MPEG-2",
  mpeg4: "MPEG-4 part 2",
  prores: "ProRes",
  vp8: "VP8",
  vp9: "VP9",
};

/** Returns the usual name of a codec; null if it is not known yet. */
export const codecName = (codec) => (codec ? (CODECS[codec] ?? codec) : null);
