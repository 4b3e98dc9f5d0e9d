// The prompt template as chips. The plain text in the textarea is what counts: chips are read from it and written to it.
//
// Between two chips there is always a slot for words, so that typing (with an input method too) works everywhere.
(() => {
  const { parse, write, units } = globalThis.WorkbenchTemplate;
  const TYPED_PART = /\{(?:text|text_a|text_b|mask|soft|sep)(?::[^{}]*)?\}/;
  const DRAG_PIXELS = 5;

  const isWords = (part) => part.kind === "hard" && !part.dict;
  const length = (part) => [...write([part])].length;

  // Words and chips by turns, words first and last; neighbouring words are one.
  function slotsOf(parts) {
    const slots = [];
    for (const part of parts) {
      const last = slots.at(-1);
      if (isWords(part)) {
        if (last && isWords(last)) {
          last.value += part.value;
          last.raw = last.raw !== undefined && part.raw !== undefined ? last.raw + part.raw : undefined;
        } else {
          slots.push({ ...part });
        }
      } else {
        if (!last || !isWords(last)) slots.push({ kind: "hard", value: "", length: null });
        slots.push({ ...part });
      }
    }
    if (!slots.length || !isWords(slots.at(-1))) slots.push({ kind: "hard", value: "", length: null });
    return slots;
  }
  const filled = (slots) => slots.filter((slot) => !isWords(slot) || slot.value !== "");

  class ChipEditor {
    // `beforeChange` hears of every step that is more than typing, before it is made.
    constructor({ root, textarea, under, readOnly, beforeChange }) {
      Object.assign(this, { root, textarea, under, readOnly, beforeChange });
      this.words = root.dataset;
      this.masks = 1;
      this.error = null;
      this.at = 0; // the slot that Tab comes to
      this.caret = null;
      this.status = document.createElement("span");
      this.status.className = "sr-only";
      this.status.setAttribute("role", "status");
      root.after(this.status);
      root.hidden = false;
      textarea.addEventListener("input", () => this.writing || this.read());
      if (!readOnly) {
        root.addEventListener("keydown", (event) => this.key(event));
        root.addEventListener("input", (event) => this.typed(event));
        root.addEventListener("focusin", (event) => this.focused(event));
        root.addEventListener("pointerdown", (event) => this.grab(event));
        root.addEventListener("click", (event) => event.target === root && this.focus(this.slots.length - 1));
      }
      this.read();
    }

    // From the textarea.
    read() {
      const parsed = parse(this.textarea.value);
      this.slots = slotsOf(parsed.parts);
      this.at = Math.min(this.at, this.slots.length - 1);
      this.error = parsed.error;
      this.render();
    }

    // Into the textarea, which says so like any typing.
    store({ render = true, quiet = false } = {}) {
      this.textarea.value = write(filled(this.slots));
      this.error = parse(this.textarea.value).error;
      if (render) this.render();
      else this.mark();
      if (quiet) return;
      this.writing = true;
      this.textarea.dispatchEvent(new Event("input", { bubbles: true }));
      this.writing = false;
    }

    change(step) {
      this.beforeChange?.();
      step();
      this.store();
    }

    setMasks(n) {
      if (n === this.masks) return;
      this.masks = n;
      for (const [index, slot] of this.slots.entries()) {
        if (slot.kind === "mask") this.root.children[index].replaceWith(this.element(slot, index));
      }
      this.mark();
    }

    // The fault as the server found it: it knows more than the grammar.
    setError(error) {
      this.error = error;
      this.mark();
    }

    render() {
      const active = this.root.contains(document.activeElement);
      this.root.replaceChildren(...this.slots.map((slot, index) => this.element(slot, index)));
      this.mark();
      if (active && !this.readOnly) this.focus(this.at, this.caret);
    }

    element(slot, index) {
      const words = this.words;
      if (isWords(slot)) {
        const place = document.createElement("span");
        place.className = slot.value ? "chip-words" : "chip-words empty";
        place.append(this.input(slot.value, words.hard, index, false));
        return place;
      }
      const chip = document.createElement("span");
      chip.className = `chip chip-${slot.kind}`;
      chip.tabIndex = this.at === index ? 0 : -1;
      chip.setAttribute("role", "button");
      const name = { text: slot.value === "b" ? words.textB : words.text, mask: words.mask, soft: words.soft, sep: words.sep, cls: "CLS", hard: words.hard, wrong: words.wrong }[slot.kind];
      const place = this.slots.slice(0, index + 1).filter((one) => !isWords(one)).length;
      chip.setAttribute("aria-label", `${name} ${slot.kind === "wrong" ? slot.raw : slot.kind === "text" ? "" : slot.value} (${place})`);
      if (slot.kind === "mask") {
        const boxes = Math.min(slot.length || this.masks, 8);
        chip.append(...Array.from({ length: boxes }, () => Object.assign(document.createElement("i"), { className: "piece-mask" })));
      } else if (slot.kind === "wrong") {
        chip.textContent = slot.raw;
      } else if (slot.kind === "hard") {
        chip.textContent = slot.value;
      } else {
        chip.append(name);
        if (slot.kind === "soft" && slot.dict) chip.append(` ${slot.value || slot.length}`);
        else if (slot.kind === "soft") chip.append(this.input(slot.value || String(slot.length ?? ""), words.soft, index, true));
      }
      return chip;
    }

    // An input as wide as its words: the copy in data-value gives the width.
    input(value, label, index, inside) {
      const grow = document.createElement("span");
      grow.className = "grow";
      grow.dataset.value = value;
      const input = document.createElement("input");
      input.value = value;
      input.size = 1;
      input.maxLength = 1000;
      input.spellcheck = false;
      input.autocomplete = "off";
      input.readOnly = this.readOnly;
      input.tabIndex = !inside && this.at === index ? 0 : -1;
      input.setAttribute("aria-label", label);
      input.className = inside ? "chip-inner" : "chip-input";
      grow.append(input);
      return grow;
    }

    // Underlines the fault in the chips and in the text.
    mark() {
      const { error } = this;
      let at = 0;
      this.slots.forEach((slot, index) => {
        const end = at + length(slot);
        const wrong = slot.kind === "wrong" || (error && error.at !== null && error.at < end && (error.end ?? error.at + 1) > at);
        this.root.children[index]?.classList.toggle("chip-fault", Boolean(wrong));
        at = end;
      });
      const source = this.textarea.value;
      if (!error || error.at === null) {
        this.under.textContent = `${source}\u200b`;
        return;
      }
      const from = units(source, error.at);
      const to = Math.max(from, units(source, error.end ?? error.at + 1));
      const fault = document.createElement("mark");
      fault.textContent = source.slice(from, to) || "\u00a0";
      this.under.replaceChildren(source.slice(0, from), fault, `${source.slice(to)}\u200b`);
    }

    indexOf(node) {
      const child = node.closest("#chips > *");
      return [...this.root.children].indexOf(child);
    }

    focus(index, caret = null) {
      this.at = Math.max(0, Math.min(index, this.slots.length - 1));
      const place = this.root.children[this.at];
      for (const [number, child] of [...this.root.children].entries()) {
        const stop = child.querySelector(".chip-input") || child;
        stop.tabIndex = number === this.at ? 0 : -1;
      }
      const input = place.querySelector(".chip-input");
      if (input) {
        input.focus();
        const position = caret === null ? input.value.length : Math.min(caret, input.value.length);
        input.setSelectionRange(position, position);
      } else {
        place.focus();
      }
    }

    focused(event) {
      const index = this.indexOf(event.target);
      if (index >= 0) this.at = index;
    }

    typed(event) {
      const { target } = event;
      const index = this.indexOf(target);
      const slot = this.slots[index];
      event.stopPropagation(); // the textarea tells the form
      target.parentElement.dataset.value = target.value;
      delete slot.raw;
      if (target.classList.contains("chip-inner")) {
        const digits = /^[0-9]{1,3}$/.test(target.value.trim());
        slot.value = digits ? "" : target.value.trim();
        slot.length = digits ? Number(target.value) : null;
      } else {
        slot.value = target.value;
        target.parentElement.parentElement.classList.toggle("empty", !target.value);
        if (!event.isComposing && TYPED_PART.test(target.value)) return this.readTyped(index);
      }
      this.caret = target.selectionStart;
      this.store({ render: false });
    }

    // Somebody who writes {mask} among the words means the chip.
    readTyped(index) {
      const { parts, error, bare } = parse(this.slots[index].value);
      if (bare || (error && ["not_closed", "stray_brace", "unknown_part"].includes(error.fault))) return this.store({ render: false });
      this.beforeChange?.();
      const chips = parts.length - 1;
      this.slots = slotsOf([...this.slots.slice(0, index), ...parts.map((part) => ({ ...part, raw: undefined })), ...this.slots.slice(index + 1)]);
      this.at = Math.min(index + chips * 2, this.slots.length - 1);
      if (!isWords(this.slots[this.at])) this.at += 1;
      this.caret = 0;
      this.store();
    }

    key(event) {
      const index = this.indexOf(event.target);
      if (index < 0 || event.isComposing) return;
      const input = event.target.tagName === "INPUT" ? event.target : null;
      const inner = input?.classList.contains("chip-inner");
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Enter") {
        event.preventDefault(); // the form is not sent from here
        if (inner) this.focus(index);
        else if (!input) this.open(index);
        return;
      }
      if (inner) {
        if (event.key === "Escape") this.focus(index);
        return;
      }
      if (event.altKey && step) {
        event.preventDefault();
        return this.move(index, step);
      }
      if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
      const start = !input || (input.selectionStart === 0 && input.selectionEnd === 0);
      const end = !input || (input.selectionStart === input.value.length && input.selectionEnd === input.value.length);
      if (step && (step < 0 ? start : end)) {
        event.preventDefault();
        this.focus(index + step, step < 0 ? null : 0);
      } else if (event.key === "Home" && start) {
        this.focus(0, 0);
      } else if (event.key === "End" && end) {
        this.focus(this.slots.length - 1);
      } else if (!input && (event.key === "Delete" || event.key === "Backspace")) {
        event.preventDefault();
        this.remove(index);
      } else if (input && event.key === "Backspace" && start && index > 0) {
        event.preventDefault();
        this.remove(index - 1);
      } else if (input && event.key === "Delete" && end && index + 1 < this.slots.length) {
        event.preventDefault();
        this.remove(index + 1);
      } else if (!input && [...event.key].length === 1) {
        this.focus(index + 1, 0); // the letter itself lands in the words that follow
      }
    }

    // Enter on a chip: its words where it has some, otherwise its place in the text.
    open(index) {
      const inner = this.root.children[index].querySelector(".chip-inner");
      if (inner) {
        inner.focus();
        inner.select();
        return;
      }
      const before = write(filled(this.slots.slice(0, index)));
      this.textarea.focus();
      this.textarea.setSelectionRange(before.length, before.length + write([this.slots[index]]).length);
    }

    remove(index) {
      const before = this.slots[index - 1];
      this.at = Math.max(0, index - 1);
      this.caret = before ? before.value.length : 0;
      this.change(() => {
        this.slots = slotsOf(this.slots.filter((_slot, number) => number !== index));
      });
      this.focus(this.at, this.caret);
      this.status.textContent = this.words.removed;
    }

    // Past the neighbour that is there: words count when there are some.
    move(index, step) {
      const parts = filled(this.slots);
      const moving = this.slots[index];
      const from = parts.indexOf(moving);
      const to = from + step;
      if (from < 0 || to < 0 || to >= parts.length) return;
      [parts[from], parts[to]] = [parts[to], parts[from]];
      this.place(parts, moving);
    }

    place(parts, moving) {
      const chips = parts.filter((part) => !isWords(part));
      this.change(() => {
        this.slots = slotsOf(parts);
        this.at = isWords(moving) ? this.slots.findIndex((slot) => isWords(slot) && slot.value.includes(moving.value)) : this.chipAt(chips.indexOf(moving));
        this.caret = null;
      });
      this.focus(this.at);
      this.status.textContent = this.words.moved.replace("{n}", String(this.at + 1));
    }

    chipAt(number) {
      let left = number;
      return this.slots.findIndex((slot) => !isWords(slot) && left-- === 0);
    }

    // A part where the caret is or was. There is one place of masks: a second one means that it moves.
    insert(source) {
      const [part] = parse(source).parts;
      const slot = this.slots[this.at];
      const caret = isWords(slot) ? (this.root.children[this.at].querySelector("input").selectionStart ?? slot.value.length) : 0;
      const pieces = isWords(slot)
        ? [{ ...slot, value: slot.value.slice(0, caret), raw: undefined }, part, { ...slot, value: slot.value.slice(caret), raw: undefined }]
        : [slot, part];
      const parts = [...this.slots.slice(0, this.at), ...pieces, ...this.slots.slice(this.at + 1)];
      this.place(filled(parts.filter((one) => one === part || part.kind !== "mask" || one.kind !== "mask")), part);
    }

    // By mouse or finger: a chip is carried to the nearest seam.
    grab(event) {
      const chip = event.target.closest(".chip");
      if (!chip || event.target.tagName === "INPUT" || event.button) return;
      event.preventDefault();
      const index = this.indexOf(chip);
      const start = { x: event.clientX, y: event.clientY };
      let seam = null;
      const over = (moved) => {
        if (seam === null && Math.hypot(moved.clientX - start.x, moved.clientY - start.y) < DRAG_PIXELS) return;
        chip.classList.add("dragging");
        seam = this.seam(moved.clientX, moved.clientY);
        [...this.root.children].forEach((child, number) => child.classList.toggle("seam", number === seam));
        this.root.classList.toggle("seam-end", seam === this.slots.length);
      };
      const end = (done) => {
        chip.removeEventListener("pointermove", over);
        chip.removeEventListener("pointerup", end);
        chip.removeEventListener("pointercancel", end);
        chip.classList.remove("dragging");
        this.root.classList.remove("seam-end");
        for (const child of this.root.children) child.classList.remove("seam");
        if (seam === null || done.type === "pointercancel") return this.focus(index);
        const moving = this.slots[index];
        const parts = this.slots.map((slot) => (slot === moving ? null : slot));
        parts.splice(seam, 0, moving);
        this.place(filled(parts.filter(Boolean)), moving);
      };
      chip.setPointerCapture(event.pointerId);
      chip.addEventListener("pointermove", over);
      chip.addEventListener("pointerup", end);
      chip.addEventListener("pointercancel", end);
    }

    // The index before which a chip dropped at this point would stand.
    seam(x, y) {
      let best = this.slots.length;
      let least = Infinity;
      [...this.root.children].forEach((child, index) => {
        const box = child.getBoundingClientRect();
        const row = y < box.top ? box.top - y : y > box.bottom ? y - box.bottom : 0;
        for (const [edge, place] of [[box.left, index], [box.right, index + 1]]) {
          const distance = Math.abs(x - edge) + row * 4;
          if (distance < least) [least, best] = [distance, place];
        }
      });
      return best;
    }
  }

  globalThis.ChipEditor = ChipEditor;
})();
