// Search in the texts of a job: case, accents and spaces do not matter, and one letter may be misread.

/** The shortest query in which a letter may be misread. */
const SHORTEST_FUZZY = 4;

/** Folds a text: no case, accents or spaces. */
export function fold(text) {
  return text
    .normalize("NFKD")
    .replace(/[\p{M}\p{Z}\p{C}\s]/gu, "")
    .toLowerCase()
    .replaceAll("ß", "ss")
    .replaceAll("ς", "σ");
}

/** Folds a text letter by letter. `places[i]` is where the letter `i` of the folded text is in the text. */
function foldWithPlaces(text) {
  let folded = "";
  const places = [];
  let at = 0;
  for (const letter of text) {
    const plain = fold(letter);
    folded += plain;
    for (let n = 0; n < plain.length; n += 1) places.push(at);
    at += letter.length;
  }
  places.push(text.length);
  return { folded, places };
}

/** A search over texts that are folded once. */
export class TextIndex {
  constructor(texts) {
    this.folded = texts.map(fold);
  }

  /** Returns the places of the texts that have the query in them, in order. */
  find(query) {
    const wanted = fold(query);
    if (!wanted) return [];
    const hits = [];
    this.folded.forEach((text, at) => spanIn(text, wanted) && hits.push(at));
    return hits;
  }
}

/** Returns where the query is in a text, `[start, end]`, to mark it; null if it is not in it. */
export function markedSpan(text, query) {
  const { folded, places } = foldWithPlaces(text);
  const span = spanIn(folded, fold(query));
  if (!span) return null;
  const [start, end] = span;
  const last = places[end - 1];
  // With the accents behind the last letter, and not with the spaces.
  const letter = text.slice(last).match(/^.\p{M}*/su)[0];
  return [places[start], last + letter.length];
}

function spanIn(text, wanted) {
  if (!wanted) return null;
  const at = text.indexOf(wanted);
  if (at >= 0) return [at, at + wanted.length];
  if (wanted.length < SHORTEST_FUZZY) return null;
  // With one error, one half of the query is in the text as it is.
  const half = wanted.length >> 1;
  if (!text.includes(wanted.slice(0, half)) && !text.includes(wanted.slice(half))) return null;
  return spanWithOneError(text, wanted);
}

/** Sellers' algorithm: the substring at the smallest edit distance, if that is 1. */
function spanWithOneError(text, wanted) {
  let distance = Array.from({ length: wanted.length + 1 }, (_, at) => at);
  let start = new Array(wanted.length + 1).fill(0);
  for (let end = 1; end <= text.length; end += 1) {
    const nextDistance = [0];
    const nextStart = [end];
    for (let at = 1; at <= wanted.length; at += 1) {
      const replaced = distance[at - 1] + (text[end - 1] === wanted[at - 1] ? 0 : 1);
      const added = distance[at] + 1;
      const missing = nextDistance[at - 1] + 1;
      const least = Math.min(replaced, added, missing);
      nextDistance.push(least);
      nextStart.push(least === replaced ? start[at - 1] : least === added ? start[at] : nextStart[at - 1]);
    }
    distance = nextDistance;
    start = nextStart;
    if (distance[wanted.length] <= 1 && start[wanted.length] < end) return [start[wanted.length], end];
  }
  return null;
}
