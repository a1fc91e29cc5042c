// The keys of the player. They do nothing in fields, and leave space to buttons.

const FIELDS = new Set(["INPUT", "SELECT", "TEXTAREA"]);

/**
 * @param isActive whether the player is shown
 * @param actions `toggle`, `move` (seconds), `step` (1 or -1), `search`
 */
export function setUpKeys(isActive, actions) {
  document.addEventListener("keydown", (event) => {
    if (!isActive() || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { target } = event;
    if (FIELDS.has(target.tagName)) return;
    const work = actionOf(event.key, target, actions);
    if (!work) return;
    event.preventDefault();
    work();
  });
}

function actionOf(key, target, actions) {
  switch (key) {
    case " ":
      return ["BUTTON", "A"].includes(target.tagName) ? null : actions.toggle;
    case "ArrowLeft":
      return () => actions.move(-5);
    case "ArrowRight":
      return () => actions.move(5);
    case ",":
      return () => actions.step(-1);
    case ".":
      return () => actions.step(1);
    case "/":
      return actions.search;
    default:
      return null;
  }
}
