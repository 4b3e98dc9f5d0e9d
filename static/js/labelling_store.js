// The outbox: decisions wait in localStorage (and in the vault) until the server has acknowledged each of them.
//
// One entry per decision, so that two tabs never write over each other's list; the entries of all tabs of one person
// in one project are sent, oldest first. Sending twice is harmless: each decision carries its client_id.

class Outbox {
  constructor({ url, user, project, onState, onResult }) {
    this.url = url;
    this.user = user;
    this.vault = new window.wanxing.Vault("wanxing-outbox");
    this.prefix = `wanxing.pending.${user}.${project}.`;
    this.onState = onState;
    this.onResult = onResult;
    this.memory = new Map(); // what localStorage would not take
    this.sending = false;
    this.wait = 0;
    this.timer = null;
    this.last = 0;
    this.condition = "ok"; // ok, offline, expired, other (somebody else signed in), removed (from the project), refused
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
    return this.entries().filter(([, decision]) => ["label", "none", "skip"].includes(decision.action)).map(([, decision]) => decision.example);
  }

  add(decision) {
    const key = `${this.prefix}${this.next()}.${decision.client_id}`;
    try {
      localStorage.setItem(key, JSON.stringify(decision));
    } catch {
      this.memory.set(key, decision);
    }
    this.vault.put(key, decision);
    this.tell();
    this.flush();
  }

  // Where the decision stands in the order of sending: after all that wait, even where the clock has jumped back.
  next() {
    const waiting = this.entries().map(([key]) => Number(key.slice(this.prefix.length).split(".")[0]) || 0);
    this.last = Math.max(Date.now() * 1000, this.last + 1, ...waiting.map((order) => order + 1));
    return this.last.toString().padStart(18, "0");
  }

  // Bring back what only the vault still has: the browser died before it wrote the rest to disk.
  async restore() {
    for (const [key, decision] of await this.vault.entries(this.prefix)) {
      if (localStorage.getItem(key) !== null || this.memory.has(key)) continue;
      this.memory.set(key, decision);
    }
    this.tell();
  }

  drop(key) {
    this.memory.delete(key);
    localStorage.removeItem(key);
    this.vault.drop([key]);
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
        body: JSON.stringify({ user: this.user, decisions }),
        redirect: "manual",
        credentials: "same-origin",
        keepalive: true,
      });
      if (response.type === "opaqueredirect" || response.status === 401) return { condition: "expired" };
      if (response.ok) return { condition: "ok", results: (await response.json()).results };
      if (response.status === 409) return { condition: "other" };
      if (response.headers.get("X-Wanxing-Reason") === "csrf") return { condition: "expired" }; // its cookie went with the session
      if (response.status === 404 || response.status === 403) return { condition: "removed" };
      return { condition: response.status >= 500 || response.status === 429 ? "offline" : "refused" };
    } catch {
      return { condition: "offline" };
    }
  }
}

// randomUUID exists only on https and localhost; a server in the house is often neither.
function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

window.wanxing = Object.assign(window.wanxing || {}, { Outbox, newId });
