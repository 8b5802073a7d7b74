/** POST JSON with the CSRF token. Rejects on a lost network; any answer of the server resolves. */
export async function post(url, body, { timeout = 20000 } = {}) {
  const response = await fetch(url, {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": csrfToken() },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(timeout),
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
