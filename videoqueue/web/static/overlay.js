// Boxes and texts over the frame shown. Boxes are in pixels of the upright picture that the pipeline had; the
// browser shows the same picture in another size, and with square pixels.

import { makeSvg } from "./dom.js";

/** The maximum number of boxes that are drawn. */
const MOST_BOXES = 300;
/** The size of the letters of a name, in CSS pixels. In between, 60 of them would fill the picture's width. */
const SMALLEST = 8;
const LARGEST = 13;

export class Overlay {
  constructor(svg, video) {
    this.svg = svg;
    this.video = video;
    this.frame = { width: null, height: null };
    this.last = [[], null];
    new ResizeObserver(() => this.draw(...this.last)).observe(svg);
  }

  /** Sets the size of the picture in which boxes are given, in pixels; null if it is not known. */
  setFrame(width, height) {
    this.frame = { width, height };
  }

  /**
   * Draws boxes in place of those of before.
   * @param boxes `{box, name, color, isHit, isText}` each
   * @param frame `{index, isExact}`; null without a result
   */
  draw(boxes, frame) {
    this.last = [boxes, frame];
    const picture = this.#picture();
    this.svg.dataset.frame = frame ? frame.index : "";
    this.svg.classList.toggle("held", frame !== null && !frame.isExact);
    if (picture) this.svg.style.fontSize = `${picture.letters}px`;
    const shown = picture ? boxes.slice(0, MOST_BOXES) : [];
    while (this.svg.childElementCount > shown.length) this.svg.lastChild.remove();
    while (this.svg.childElementCount < shown.length) {
      this.svg.append(makeSvg("g", {}, makeSvg("rect"), makeSvg("text")));
    }
    shown.forEach((box, at) => place(this.svg.children[at], box, picture));
  }

  /** Returns where the picture is inside the player, in CSS pixels, and its scale; null before it is known. */
  #picture() {
    const { clientWidth: width, clientHeight: height } = this.svg;
    const shownWidth = this.video.videoWidth || this.frame.width;
    const shownHeight = this.video.videoHeight || this.frame.height;
    if (!shownWidth || !width) return null;
    const scale = Math.min(width / shownWidth, height / shownHeight);
    return {
      letters: Math.min(LARGEST, Math.max(SMALLEST, (shownWidth * scale) / 60)),
      left: (width - shownWidth * scale) / 2,
      top: (height - shownHeight * scale) / 2,
      scaleX: (shownWidth * scale) / (this.frame.width || shownWidth),
      scaleY: (shownHeight * scale) / (this.frame.height || shownHeight),
    };
  }
}

function place(group, { box, name, color, isHit, isText }, { left, top, scaleX, scaleY, letters }) {
  const [rect, text] = group.children;
  const [x1, y1, x2, y2] = box;
  const x = left + x1 * scaleX;
  const y = top + y1 * scaleY;
  rect.setAttribute("x", x);
  rect.setAttribute("y", y);
  rect.setAttribute("width", Math.max(0, (x2 - x1) * scaleX));
  rect.setAttribute("height", Math.max(0, (y2 - y1) * scaleY));
  rect.setAttribute("stroke", color);
  group.setAttribute("class", `${isHit ? "hit" : ""} ${isText ? "words" : "thing"}`);
  text.setAttribute("x", x + 2);
  text.setAttribute("y", y > letters + 4 ? y - 4 : y + (y2 - y1) * scaleY + letters + 1);
  if (text.textContent !== name) text.textContent = name;
}
