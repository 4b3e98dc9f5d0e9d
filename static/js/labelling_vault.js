// A second copy of the outbox in IndexedDB. The browser writes localStorage to disk some seconds late; what is put here
// is on disk when the promise is fulfilled, so that it outlives a browser that is killed at that moment.

window.wanxing = Object.assign(window.wanxing || {}, {
  Vault: class {
    constructor(name) {
      this.db = new Promise((resolve) => {
        try {
          const request = indexedDB.open(name, 1);
          request.onupgradeneeded = () => request.result.createObjectStore("decisions");
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => resolve(null);
          request.onblocked = () => resolve(null);
        } catch {
          resolve(null); // a private window may have none: localStorage alone then
        }
      });
    }

    async put(key, decision) {
      await this.run("readwrite", (store) => store.put(decision, key));
    }

    async drop(keys) {
      if (keys.length) await this.run("readwrite", (store) => keys.forEach((key) => store.delete(key)));
    }

    // Entries [key, decision] whose key begins with `prefix`.
    async entries(prefix) {
      const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
      let keys, values;
      await this.run("readonly", (store) => {
        keys = store.getAllKeys(range);
        values = store.getAll(range);
      });
      return keys && keys.result ? keys.result.map((key, place) => [key, values.result[place]]) : [];
    }

    async run(mode, act) {
      const db = await this.db;
      if (!db) return;
      await new Promise((resolve) => {
        try {
          const transaction = db.transaction("decisions", mode, { durability: "strict" });
          transaction.oncomplete = resolve;
          transaction.onabort = resolve;
          transaction.onerror = resolve;
          act(transaction.objectStore("decisions"));
        } catch {
          resolve();
        }
      });
    }
  },
});
