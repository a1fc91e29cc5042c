// The results as files to download.

import { make } from "./dom.js";

const FORMATS = [
  ["csv", "Table (CSV)"],
  ["jsonl", "JSON lines"],
  ["vtt", "Subtitles (WebVTT)"],
  ["srt", "Subtitles (SubRip)"],
  ["coco", "Boxes (COCO)"],
];

/** Returns the links for a completed job, as lines of a list. */
export function exportLinks(job, leastConfidence) {
  const least = leastConfidence > 0 ? `&min_confidence=${leastConfidence}` : "";
  return FORMATS.filter(([format]) => format !== "coco" || job.video.width).map(([format, name]) => {
    const href = `/jobs/${job.job_id}/export?format=${format}${least}`;
    return make("li", {}, make("a", { href, download: true }, name));
  });
}
