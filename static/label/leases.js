/** Keep the leases of what the page holds while somebody works, and give them back when the page closes. */
import { csrfToken, post } from "./post.js";

const RENEW_SECONDS = 45;
const IDLE_SECONDS = 300;

export function keepLeases({ url, holding, onLost }) {
  let lastActive = Date.now();
  const touch = () => (lastActive = Date.now());
  for (const name of ["keydown", "pointerdown", "pointermove"]) addEventListener(name, touch, { passive: true });

  setInterval(async () => {
    const ids = holding();
    if (document.hidden || !ids.length || Date.now() - lastActive > IDLE_SECONDS * 1000) return;
    try {
      const reply = await post(url, { renew: ids });
      if (reply.status === 200) onLost(ids.filter((id) => !reply.body.held.includes(id)));
    } catch {
      /* offline: an answer still counts when its lease has run out */
    }
  }, RENEW_SECONDS * 1000);

  addEventListener("pagehide", () => {
    const ids = holding();
    if (!ids.length) return;
    const form = new FormData();
    form.set("csrfmiddlewaretoken", csrfToken());
    for (const id of ids) form.append("release", id);
    navigator.sendBeacon(url, form);
  });
}
