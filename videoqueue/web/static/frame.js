// What the result of one frame says, as boxes to draw and as a list.

import { make } from "./dom.js";
import { TEXT } from "./findings.js";
import { percent } from "./format.js";
import { markedSpan } from "./search.js";

/** The maximum number of lines of the list. */
const MOST_LINES = 300;

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Whether a plugin has put a box with a name and a confidence there, and not something of its own. */
function isValid(block, name) {
  return (
    typeof block?.[name] === "string" &&
    isNumber(block.confidence) &&
    Array.isArray(block.box) &&
    block.box.length === 4 &&
    block.box.every(isNumber)
  );
}

const valid = (blocks, name) => (Array.isArray(blocks) ? blocks.filter((block) => isValid(block, name)) : []);

/** Returns the wanted boxes of a frame; all above the confidence while the segments are not there yet. */
export function boxesOf(result, findings, leastConfidence) {
  const isWanted = (kind, confidence) =>
    findings ? findings.isWanted(kind, confidence) : confidence >= Number(leastConfidence);
  const color = (kind) => `var(--color-${findings ? findings.color(kind) : kind === TEXT ? "text" : "0"})`;
  const query = findings?.query ?? "";
  const things = valid(result.detections, "label")
    .filter((found) => isWanted(found.label, found.confidence))
    .map(({ box, label, confidence }) => ({
      box, confidence, name: `${label} ${percent(confidence)}`, label, color: color(label), isHit: false, isText: false,
    }));
  const texts = valid(result.text_blocks, "text")
    .filter((found) => isWanted(TEXT, found.confidence))
    .map(({ box, text, confidence }) => ({
      box, confidence, name: text, label: text, color: color(TEXT), isText: true,
      isHit: query !== "" && markedSpan(text, query) !== null,
    }));
  return [...things, ...texts];
}

/** Returns the lines of the list of what is in the frame shown. */
export function listOf(boxes, found, isLoaded) {
  if (!found) return [make("li", { class: "quiet" }, isLoaded ? "This frame was not processed." : "Loading")];
  const lines = boxes.slice(0, MOST_LINES).map(({ label, confidence }) =>
    make("li", {}, make("bdi", {}, label), " ", make("span", { class: "quiet" }, percent(confidence))),
  );
  const more = boxes.length - lines.length;
  if (more > 0) lines.push(make("li", { class: "quiet" }, `and ${more} more`));
  if (!lines.length) lines.push(make("li", { class: "quiet" }, "Nothing was found."));
  if (!found.isExact) {
    const text = `This frame was not processed. Shown is frame ${found.item.frame_index}.`;
    lines.unshift(make("li", { class: "quiet" }, text));
  }
  return lines;
}
