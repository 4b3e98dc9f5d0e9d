// The texts that the labelling page holds: renewed each minute while the page is open, given back when it is left.

window.wanxing = Object.assign(window.wanxing || {}, {
  // `texts()` are the ids at hand; `onLost(ids)` gets a Set of those that somebody else has, or that are decided.
  keepLeases({ url, page, seconds, texts, onLost }) {
    const form = (doing) =>
      new URLSearchParams({ do: doing, page, texts: texts().join(","), csrfmiddlewaretoken: window.wanxing.csrfToken() });

    async function renew() {
      if (!texts().length) return;
      try {
        const response = await fetch(url, { method: "POST", body: form("renew"), redirect: "manual", credentials: "same-origin" });
        if (!response.ok) return;
        const { lost } = await response.json();
        if (lost.length) onLost(new Set(lost));
      } catch {
        // Offline: the leases run out, and the next renewal says which texts are still free.
      }
    }

    setInterval(renew, seconds * 1000);
    // A laptop that slept, or a page that came back out of the browser's memory, may have lost some.
    let hiddenAt = null;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) hiddenAt = Date.now();
      else if (hiddenAt !== null && Math.abs(Date.now() - hiddenAt) > seconds * 1000) renew();
    });
    window.addEventListener("pageshow", (event) => event.persisted && renew());
    window.addEventListener("pagehide", () => texts().length && navigator.sendBeacon(url, form("release")));
  },
});
