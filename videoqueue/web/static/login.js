// Login with a key, and logout.

import { Problem, getJson, post } from "./api.js";
import { announce, byId, say } from "./dom.js";

/** Returns who uses the page; null if a key is needed first. */
export async function currentSession() {
  try {
    return await getJson("/ui/session");
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return null;
    throw error;
  }
}

/** Prepares the form of the login and the button to log out. */
export function setUpLogin(onLogin) {
  const field = byId("login-key");
  byId("login-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter;
    say(byId("login-error"), null);
    if (button) button.disabled = true;
    try {
      const response = await post("/ui/login", { key: field.value });
      field.value = "";
      onLogin(await response.json());
    } catch (error) {
      say(byId("login-error"), error.message);
      field.focus();
      field.select();
    } finally {
      if (button) button.disabled = false;
    }
  });
  byId("logout").addEventListener("click", async () => {
    try {
      await post("/ui/logout");
      // Nothing of this owner stays in the page.
      location.replace("/");
      location.reload();
    } catch (error) {
      announce(error.message);
    }
  });
}
