// The outbox: decisions wait in localStorage until the server has acknowledged each of them.
//
// One entry per decision, so that two tabs never write over each other's list; the entries of all tabs of one person
// in one project are sent, oldest first. Sending twice is harmless: each decision carries its client_id.

class Outbox {
  constructor({ url, user, project, onState, onResult }) {
    this.url = url;
    this.prefix = `wanxing.pending.${user}.${project}.`;
    this.onState = onState;
    this.onResult = onResult;
    this.memory = new Map(); // what localStorage would not take
    this.sending = false;
    this.wait = 0;
    this.timer = null;
    this.counter = 0;
    this.condition = "ok"; // ok, offline, expired, refused
    window.addEventListener("online", () => this.flush(true));
    window.addEventListener("focus", () => this.size && this.flush(true));
    window.addEventListener("storage", (event) => {
      if (event.key && event.key.startsWith(this.prefix)) this.tell();
    });
  }

  // Entries [key, decision], oldest first.
  entries() {
    const found = [...this.memory];
    for (let index = 0; index < localStorage.length; index += 1) {
      const key = localStorage.key(index);
      if (!key.startsWith(this.prefix)) continue;
      try {
        found.push([key, JSON.parse(localStorage.getItem(key))]);
      } catch {
        localStorage.removeItem(key); // half written by a browser that died
      }
    }
    return found.sort(([a], [b]) => (a < b ? -1 : 1));
  }

  get size() {
    return this.entries().length;
  }

  // Ids of the texts that wait here: the server does not know yet that they are decided.
  texts() {
    return this.entries().map(([, decision]) => decision.example).filter(Boolean);
  }

  add(decision) {
    this.counter += 1;
    const order = `${Date.now().toString().padStart(15, "0")}.${this.counter.toString().padStart(6, "0")}`;
    const key = `${this.prefix}${order}.${decision.client_id}`;
    try {
      localStorage.setItem(key, JSON.stringify(decision));
    } catch {
      this.memory.set(key, decision);
    }
    this.tell();
    this.flush();
  }

  drop(key) {
    this.memory.delete(key);
    localStorage.removeItem(key);
  }

  tell() {
    this.onState({ condition: this.condition, waiting: this.size, unstored: this.memory.size > 0 });
  }

  async flush(now = false) {
    if (now) {
      clearTimeout(this.timer);
      this.timer = null;
    }
    if (this.sending || this.timer) return;
    const batch = this.entries().slice(0, 50);
    if (!batch.length) return this.tell();
    this.sending = true;
    this.tell();
    try {
      const answer = await this.post(batch.map(([, decision]) => decision));
      this.condition = answer.condition;
      if (answer.results) {
        const results = new Map(answer.results.map((result) => [result.client_id, result]));
        for (const [key, decision] of batch) {
          const result = results.get(decision.client_id);
          if (!result) continue;
          this.drop(key);
          this.onResult(decision, result);
        }
      }
    } finally {
      this.sending = false;
    }
    this.tell();
    if (this.condition === "ok") {
      this.wait = 0;
      if (this.size) this.flush();
    } else {
      // Half a second at first, half a minute at most; coming back online or to this tab tries at once.
      this.wait = Math.min(30000, this.wait ? this.wait * 2 : 500);
      this.timer = setTimeout(() => this.flush(true), this.wait);
    }
  }

  // Never throws: what went wrong is the condition.
  async post(decisions) {
    try {
      const response = await fetch(this.url, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken() },
        body: JSON.stringify({ decisions }),
        redirect: "manual",
        credentials: "same-origin",
        keepalive: true,
      });
      if (response.type === "opaqueredirect" || response.status === 401) return { condition: "expired" };
      if (response.ok) return { condition: "ok", results: (await response.json()).results };
      return { condition: response.status >= 500 || response.status === 429 ? "offline" : "refused" };
    } catch {
      return { condition: "offline" };
    }
  }
}

window.wanxing = Object.assign(window.wanxing || {}, { Outbox });
