/** Keep the leases of what the page holds while somebody works, and give them back when the page closes. */
import { csrfToken, post } from "./post.js";

const RENEW_SECONDS = 45;
const IDLE_SECONDS = 300;

/**
 * @param {{url: string, holding: () => number[], isShared: () => boolean, onLost: (ids: number[]) => void}} options
 *   `isShared`: another tab of the same person shows the same images; `onLost` gets leases that somebody else may have now
 */
export function keepLeases({ url, holding, isShared, onLost }) {
  let lastActive = Date.now();
  const touch = () => (lastActive = Date.now());
  for (const name of ["keydown", "pointerdown", "pointermove"]) addEventListener(name, touch, { passive: true });

  async function renew() {
    const ids = holding();
    if (document.hidden || !ids.length || Date.now() - lastActive > IDLE_SECONDS * 1000) return;
    const reply = await post(url, { renew: ids }).catch(() => null); // offline: an answer counts without its lease too
    if (reply?.status !== 200) return;
    const lost = ids.filter((id) => !reply.body.held.includes(id) && holding().includes(id));
    if (lost.length) onLost(lost);
  }

  setInterval(renew, RENEW_SECONDS * 1000);
  document.addEventListener("visibilitychange", () => {
    touch();
    renew();
  });
  addEventListener("pagehide", () => {
    const ids = holding();
    if (!ids.length || isShared()) return;
    const form = new FormData();
    form.set("csrfmiddlewaretoken", csrfToken());
    for (const id of ids) form.append("release", String(id));
    navigator.sendBeacon(url, form);
  });
}
