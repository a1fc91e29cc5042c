// Small helpers for the document. Text from videos is hostile: it only ever becomes the text of a node.

export const byId = (id) => document.getElementById(id);

/** Makes an element. Attributes that are functions become listeners; null and false are left out. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Makes an element of SVG. */
export function makeSvg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** Shows a message in an element, or hides it without one. */
export function say(element, text) {
  element.textContent = text ?? "";
  element.hidden = !text;
}

/** Tells users of screen readers what has changed. */
export function announce(text) {
  byId("live").textContent = text;
}

/** Asks in the dialog whether to delete a job of this name. Returns whether it shall be deleted. */
export function confirmDeletion(name) {
  const dialog = byId("confirm");
  // The direction of a name must not turn what is behind it.
  const rest = ", with its video and its results. This cannot be undone.";
  byId("confirm-text").replaceChildren(make("bdi", {}, name), rest);
  dialog.returnValue = "keep";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "delete"), { once: true });
  });
}

/** Runs a function at most once before the next picture of the screen, however often it is asked to. */
export function oncePerPicture(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}
