// Questions while somebody types: the newest wins, an older one that is still on its way is given up.
(() => {
  class Asker {
    // `onAnswer(html, number, since)`, `onTrouble(condition)` with "offline", "expired" or the server's own words.
    constructor({ url, onAnswer, onTrouble }) {
      Object.assign(this, { url, onAnswer, onTrouble });
      this.number = 0;
      this.underway = null;
    }

    stop() {
      this.underway?.abort();
      this.underway = null;
    }

    // `since`: when the key was pressed, for the measurement.
    async ask(fields, since = performance.now()) {
      this.stop();
      this.number += 1;
      const number = this.number;
      const underway = new AbortController();
      this.underway = underway;
      try {
        const response = await fetch(this.url, {
          method: "POST",
          headers: { "X-CSRFToken": window.wanxing.csrfToken(), "HX-Request": "true" },
          body: fields,
          credentials: "same-origin",
          redirect: "manual",
          signal: underway.signal,
        });
        if (response.type === "opaqueredirect" || [401, 403].includes(response.status)) return this.trouble(number, "expired");
        if (response.status === 204) return undefined; // a newer question was on its way when this one was read
        const html = await response.text();
        if (number !== this.number) return undefined;
        if (!response.ok) return this.trouble(number, decodeURIComponent(response.headers.get("X-Error") || "") || "offline");
        this.underway = null;
        return this.onAnswer(html, number, since);
      } catch (error) {
        if (error.name === "AbortError") return undefined;
        return this.trouble(number, "offline");
      }
    }

    trouble(number, condition) {
      if (number === this.number) this.onTrouble(condition);
    }
  }

  // Pieces of `html` that stand in the page under the same id take their place, where anything changed at all.
  function place(html) {
    const parsed = document.createElement("template");
    parsed.innerHTML = html;
    for (const fresh of [...parsed.content.children]) {
      const present = fresh.id && document.getElementById(fresh.id);
      if (present && present.outerHTML !== fresh.outerHTML) {
        present.replaceWith(fresh);
        window.wanxing.localiseTimes(fresh.parentElement || document);
      }
    }
  }

  globalThis.WorkbenchAsk = { Asker, place };
})();
