// A video that does not play: why, and whether to try again.

import { send } from "./api.js";
import { byId, say } from "./dom.js";

/** How often the video of a job is loaded again after errors that may pass. */
const MOST_RELOADS = 5;
/** Seconds until then, if the service says nothing about it. */
const AGAIN = 5;

export class Trouble {
  constructor(player) {
    this.player = player;
    this.reset();
    player.addEventListener("unplayable", () => this.#examine());
  }

  /** Forgets the video of before. */
  reset() {
    this.reloads = 0;
    this.reason = this.codec = null;
    this.size = {};
    this.#show();
  }

  /** Sets the size of the picture, and the usual name of the codec; null while it is not known. */
  setVideo({ width, height }, codec) {
    this.size = { width, height };
    this.codec = codec;
    this.#show();
  }

  /** Asks the service for a byte of the video. If it gets one, the browser does not know the codec. */
  async #examine() {
    const { video } = this.player;
    const { src } = video;
    const isBrokenOff = video.error?.code === MediaError.MEDIA_ERR_NETWORK;
    this.reason = null;
    this.#show();
    if (!src || src.startsWith("blob:")) return;
    let wait = isBrokenOff ? 0 : null;
    try {
      const response = await send(src, { headers: { Range: "bytes=0-0" } });
      await response.body?.cancel();
    } catch (error) {
      this.reason = error.message;
      wait = error.isTemporary ? (error.retryAfter ?? AGAIN) : null;
    }
    if (video.src !== src || this.player.isPlayable) return;
    this.#show();
    if (wait === null || this.reloads === MOST_RELOADS) return;
    this.reloads += 1;
    setTimeout(() => this.#loadAgain(src), 1000 * wait);
  }

  #loadAgain(src) {
    if (this.player.video.src !== src || this.player.isPlayable) return;
    this.player.reload();
    this.#show();
  }

  #show() {
    const { isPlayable } = this.player;
    const { width, height } = this.size;
    byId("play").disabled = !isPlayable;
    byId("stage").classList.toggle("without-picture", !isPlayable);
    byId("stage").style.aspectRatio = !isPlayable && width && height ? `${width} / ${height}` : "";
    const what = this.codec ? `${this.codec} video` : "this video";
    const byCodec = `Your browser cannot play ${what}. All else works: seek with the timeline, the list and the keys.`;
    say(byId("unplayable"), isPlayable ? null : (this.reason ?? byCodec));
  }
}
