/** POST JSON as the person whom the page was made for. Rejects on a lost network; any answer of the server resolves. */

const TIMEOUT = 20000;
export const DISK_FULL = 507; // the status of a server that is there and can save nothing

/**
 * @param {string} url
 * @param {object} body
 * @returns {Promise<{status: number, body: any}>}
 */
export async function post(url, body) {
  const response = await fetch(url, {
    method: "POST",
    credentials: "same-origin",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/json",
      "X-CSRFToken": csrfToken(),
      // Somebody else may have signed in in another tab since: the server then takes nothing.
      "X-Annotator": document.querySelector("[data-user]").dataset.user,
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT),
    redirect: "error",
  });
  const isJson = (response.headers.get("Content-Type") || "").includes("json");
  return { status: response.status, body: isJson ? await response.json() : {} };
}

/** The token of the cookie: signing in again in another tab renews it there, not in this page. */
export function csrfToken() {
  const cookie = document.cookie.split("; ").find((each) => each.startsWith("csrftoken="));
  return cookie ? cookie.slice("csrftoken=".length) : document.querySelector("[name=csrfmiddlewaretoken]").value;
}
