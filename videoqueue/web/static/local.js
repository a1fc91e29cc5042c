// The videos that this page has submitted. Their player needs no download.

/** Files hold no memory by themselves; the number is limited all the same. */
const MOST = 20;
const urls = new Map();

export function keepLocalVideo(jobId, file) {
  urls.set(jobId, URL.createObjectURL(file));
  for (const [oldest, url] of urls) {
    if (urls.size <= MOST) break;
    URL.revokeObjectURL(url);
    urls.delete(oldest);
  }
}

/** Returns the address from which the player loads the video of a job. */
export const videoUrl = (jobId) => urls.get(jobId) ?? `/ui/jobs/${jobId}/video`;
