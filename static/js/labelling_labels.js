// The labels of the labelling page: buttons with keys, the latest of those without one, and all of them found by name.

window.wanxing = Object.assign(window.wanxing || {}, {
  LabelBoard: class {
    // `onChoose(id)` when a label is meant; `onDone()` when Enter is pressed in the finder with nothing typed.
    constructor({ start, words, onChoose, onDone }) {
      this.words = words;
      this.labels = start.labels.map((label, place) => ({ ...label, place, leaf: label.name.split("##").pop() }));
      this.byId = new Map(this.labels.map((label) => [label.id, label]));
      this.onChoose = onChoose;
      this.onDone = onDone;
      this.many = this.labels.length > start.laidOut;
      this.recentKey = `wanxing.recent.${start.user}.${start.project}`;
      this.buttons = new Map([...document.querySelectorAll("#label-keys button")].map((one) => [Number(one.value), one]));
      this.input = document.getElementById("label-filter");
      this.results = document.getElementById("label-results");
      this.finder = this.input.parentElement;
      this.found = [];
      this.active = -1;
      this.pressed = new Set();
      this.input.addEventListener("input", () => this.search());
      this.input.addEventListener("focus", () => this.search());
      this.input.addEventListener("blur", () => this.close());
      this.input.addEventListener("keydown", (event) => this.key(event));
      // Before the blur, which would take the list away from under the pointer.
      this.results.addEventListener("pointerdown", (event) => event.preventDefault());
      this.results.addEventListener("click", (event) => {
        const option = event.target.closest("[data-id]");
        if (option) this.take(Number(option.dataset.id));
      });
      this.setKeys(new Map(this.labels.map((label) => [label.id, label.key])));
    }

    name(id) {
      const label = this.byId.get(id);
      return label ? label.name.replaceAll("##", " › ") : "";
    }

    // Keys changed: which button shows what, and which labels are laid out at all.
    setKeys(keys) {
      this.byCode = new Map();
      for (const label of this.labels) {
        label.key = keys.get(label.id) || "";
        const box = this.buttons.get(label.id).querySelector("kbd");
        box.textContent = label.key.toUpperCase();
        box.hidden = !label.key;
        if (label.key) this.byCode.set(window.wanxing.codeOf(label.key), label.id);
      }
      this.finder.hidden = !this.many && this.labels.every((label) => label.key);
      this.layOut();
    }

    layOut() {
      if (!this.many) return;
      const recent = new Set(this.recent().slice(0, 8));
      for (const label of this.labels) {
        this.buttons.get(label.id).hidden = !(label.key || recent.has(label.id) || this.pressed.has(label.id));
      }
    }

    // Ids of labels given lately that have no key, newest first.
    recent() {
      try {
        const ids = JSON.parse(localStorage.getItem(this.recentKey)) || [];
        return ids.filter((id) => this.byId.has(id) && !this.byId.get(id).key);
      } catch {
        return [];
      }
    }

    used(id) {
      if (!this.byId.has(id) || this.byId.get(id).key) return;
      try {
        localStorage.setItem(this.recentKey, JSON.stringify([id, ...this.recent().filter((one) => one !== id)].slice(0, 20)));
      } catch {
        return; // a full store forgets the order, nothing else
      }
      this.layOut();
    }

    press(ids) {
      const next = new Set(ids);
      for (const id of this.pressed) if (!next.has(id)) this.buttons.get(id)?.setAttribute("aria-pressed", "false");
      for (const id of next) if (!this.pressed.has(id)) this.buttons.get(id)?.setAttribute("aria-pressed", "true");
      const changed = next.size !== this.pressed.size || [...next].some((id) => !this.pressed.has(id));
      this.pressed = next;
      if (changed && this.many) this.layOut();
    }

    // A mark like those on the buttons: the colour and the name.
    mark(id) {
      const box = document.createElement("span");
      box.className = "label-mark";
      const dot = this.buttons.get(id)?.querySelector(".dot");
      if (dot) box.append(dot.cloneNode(true));
      const name = document.createElement("span");
      name.className = "label-name";
      name.textContent = this.name(id);
      box.append(name);
      return box;
    }

    // Finding -------------------------------------------------------------------------------

    open() {
      this.finder.hidden = false;
      this.input.focus();
    }

    close() {
      this.results.hidden = true;
      this.finder.parentElement.classList.remove("finding");
      this.input.value = "";
      this.input.setAttribute("aria-expanded", "false");
      this.input.removeAttribute("aria-activedescendant");
      this.input.removeAttribute("aria-invalid");
      this.finder.hidden = !this.many && this.labels.every((label) => label.key);
    }

    // Every word of the query must stand in the name or in a label word; the last step of a path counts most.
    rank(query) {
      const parts = query.toLowerCase().split(/\s+/).filter(Boolean);
      if (!parts.length) {
        const recent = this.recent().map((id) => this.byId.get(id));
        return [...recent, ...this.labels.filter((label) => !recent.includes(label))];
      }
      const scored = [];
      for (const label of this.labels) {
        const name = label.name.toLowerCase().replaceAll("##", " › ");
        const leaf = label.leaf.toLowerCase();
        let score = 0;
        for (const part of parts) {
          if (leaf === part) score += 0;
          else if (leaf.startsWith(part)) score += 1;
          else if (leaf.includes(part)) score += 2;
          else if (name.includes(part)) score += 3;
          else if (label.words.some((word) => word.toLowerCase().includes(part))) score += 4;
          else {
            score = -1;
            break;
          }
        }
        if (score >= 0) scored.push([score, label]);
      }
      const recent = this.recent();
      const lately = (label) => (recent.includes(label.id) ? recent.indexOf(label.id) : recent.length);
      scored.sort(([a, x], [b, y]) => a - b || lately(x) - lately(y) || x.place - y.place);
      return scored.map(([, label]) => label);
    }

    search() {
      const query = this.input.value.trim();
      this.found = this.rank(query);
      this.results.replaceChildren(
        ...this.found.map((label, place) => {
          const option = document.createElement("li");
          option.id = `label-option-${place}`;
          option.setAttribute("role", "option");
          option.dataset.id = label.id;
          option.append(this.mark(label.id));
          if (this.pressed.has(label.id)) option.classList.add("chosen");
          if (label.key) {
            const key = document.createElement("kbd");
            key.textContent = label.key.toUpperCase();
            key.setAttribute("aria-hidden", "true");
            option.append(key);
          }
          return option;
        }),
      );
      if (!this.found.length) {
        const none = document.createElement("li");
        none.className = "muted";
        none.setAttribute("role", "option");
        none.setAttribute("aria-disabled", "true");
        none.textContent = this.words.noMatch;
        this.results.append(none);
      }
      this.results.hidden = false;
      this.finder.parentElement.classList.add("finding");
      this.input.setAttribute("aria-expanded", "true");
      if (this.found.length) this.input.removeAttribute("aria-invalid");
      else this.input.setAttribute("aria-invalid", "true");
      this.point(query && this.found.length ? 0 : -1);
    }

    point(place) {
      this.active = place;
      [...this.results.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
      const option = this.results.children[place];
      if (option) {
        this.input.setAttribute("aria-activedescendant", option.id);
        option.scrollIntoView({ block: "nearest" });
      } else {
        this.input.removeAttribute("aria-activedescendant");
      }
    }

    take(id) {
      const again = this.onChoose(id); // several labels a text: the finder stays open for the next one
      if (again) {
        this.input.value = "";
        this.search();
      } else {
        this.input.blur();
      }
    }

    key(event) {
      if (event.isComposing || event.keyCode === 229) return; // Enter ends the composition, it does not choose yet
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.code];
      if (step && this.found.length) {
        event.preventDefault();
        this.point((this.active + step + this.found.length) % this.found.length);
      } else if (event.code === "Enter" || event.code === "NumpadEnter") {
        event.preventDefault();
        if (event.repeat) return;
        if (this.active >= 0) this.take(this.found[this.active].id);
        else if (!this.input.value.trim()) {
          this.input.blur();
          this.onDone();
        }
      } else if (event.code === "Escape") {
        event.preventDefault();
        this.input.blur();
      }
    }
  },

  // Physical keys: what an input method makes of them does not matter.
  codeOf(key) {
    return /[0-9]/.test(key) ? `Digit${key}` : `Key${key.toUpperCase()}`;
  },
});
