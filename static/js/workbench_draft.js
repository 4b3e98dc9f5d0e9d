// What was typed and not yet saved, kept in this browser: offered again after a reload, a sign-out or a crash.
(() => {
  const FIELD = /^(?:name|words|color|key)-\d+$|^template$|^order$/;
  const tidy = (name, value) => (name.startsWith("words-") ? value.split(/[,\uff0c\u3001;\uff1b\s]+/).filter(Boolean).join(",") : value.trim());
  const same = (name, a, b) => tidy(name, a) === tidy(name, b);

  function initial(field) {
    if (field.tagName !== "SELECT") return field.defaultValue;
    return [...field.options].find((option) => option.defaultSelected)?.value ?? field.value;
  }

  class Draft {
    // `typed`: the page came back with mistakes; its fields hold what was typed, not what is stored.
    constructor({ form, key, typed, offer, onState }) {
      Object.assign(this, { form, typed, offer, onState });
      this.key = `wanxing.workbench.${key}`;
      this.held = this.load();
      form.addEventListener("input", () => this.save());
      window.addEventListener("pagehide", () => this.write());
      this.compare();
      this.onState(this.typed || this.changed().length > 0);
    }

    fields() {
      return [...this.form.elements].filter((field) => FIELD.test(field.name) && !field.disabled);
    }

    // Fields that differ from the page as it was loaded.
    changed() {
      return this.fields().filter((field) => field.value !== initial(field));
    }

    load() {
      try {
        const held = JSON.parse(localStorage.getItem(this.key));
        return held && typeof held.fields === "object" ? held : null;
      } catch {
        return null;
      }
    }

    // Is there something to offer? What was saved meanwhile is none.
    compare() {
      if (!this.held) return;
      const open = Object.entries(this.held.fields).filter(([name, value]) => {
        const field = this.form.elements[name];
        return field && typeof value === "string" && !same(name, value, field.value);
      });
      this.held.fields = Object.fromEntries(open);
      if (!open.length) {
        this.held = null;
        if (!this.typed) localStorage.removeItem(this.key);
        return;
      }
      if (this.typed) return;
      const labels = new Set(open.map(([name]) => name.split("-")[1]).filter(Boolean));
      this.offer.show({ at: new Date(this.held.at), template: "template" in this.held.fields, labels: labels.size });
    }

    save() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.write(), 250);
      this.onState(this.typed || this.changed().length > 0);
    }

    write() {
      clearTimeout(this.timer);
      const source = this.typed ? this.fields() : this.changed();
      const fields = { ...this.held?.fields, ...Object.fromEntries(source.map((field) => [field.name, field.value])) };
      try {
        if (Object.keys(fields).length) localStorage.setItem(this.key, JSON.stringify({ at: Date.now(), fields }));
        else localStorage.removeItem(this.key);
      } catch {
        // A full or forbidden store: the page itself still holds what was typed.
      }
    }

    // What was held, into the form; gives the fields that changed.
    take() {
      const fields = Object.entries(this.held?.fields ?? {}).map(([name, value]) => [this.form.elements[name], value]);
      this.held = null;
      for (const [field, value] of fields) field.value = value;
      return fields.map(([field]) => field);
    }

    drop() {
      this.held = null;
      this.write();
    }
  }

  globalThis.WorkbenchDraft = Draft;
})();
