// The keyboard of the labelling page, and the dialog in which a person changes their own keys.

window.wanxing = Object.assign(window.wanxing || {}, {
  // `acts` say what the reserved keys do; while a reason for skipping is asked for, `onSkipKey` is heard first.
  listenToKeys({ board, acts, onLabel, isSkipping, onSkipKey }) {
    const reserved = { Space: "skip", Backspace: "undo", KeyF: "flag", KeyC: "comment", Enter: "accept", NumpadEnter: "accept" };
    if (acts.none) Object.assign(reserved, { Minus: "none", NumpadSubtract: "none" });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target.closest ? event.target : document.body;
      // A dialog that has just closed may hold the focus for one more key.
      const field = target.closest("input, textarea, select, summary, a");
      if (field && !field.closest("dialog:not([open])")) return;
      const dialog = document.querySelector("dialog[open]");
      if (event.code === "Slash" && event.shiftKey) {
        event.preventDefault();
        if (!event.repeat) acts.keys();
        return;
      }
      if (dialog) return;
      if (event.code === "Slash") {
        event.preventDefault();
        return void board.open();
      }
      if (event.shiftKey) return;
      // A button that was reached by Tab is pressed by these keys, as everywhere.
      if (["Space", "Enter", "NumpadEnter"].includes(event.code) && target.closest("button") && target.matches(":focus-visible")) return;
      const code = event.code.replace("Numpad", "Digit");
      if (isSkipping() && onSkipKey(event.code, code, event.repeat)) return void event.preventDefault();
      const label = board.byCode.get(event.code) ?? board.byCode.get(code);
      const act = label === undefined ? acts[reserved[event.code]] : () => onLabel(label);
      if (!act) return;
      event.preventDefault();
      if (!event.repeat) act(); // a key that is held down decides once
    });
  },

  ownKeys({ board, words, save }) {
    const form = document.getElementById("own-keys");
    const inputs = [...form.querySelectorAll("input[data-label]")];
    const fill = () => {
      for (const input of inputs) input.value = (board.byId.get(Number(input.dataset.label)).key || "").toUpperCase();
      judge();
    };

    // Names what is wrong beside each field; returns whether nothing is.
    function judge() {
      const holder = new Map();
      let fine = true;
      for (const input of inputs) {
        const key = input.value.trim().toLowerCase();
        let problem = "";
        if (key === "f" || key === "c") problem = words.keyReserved;
        else if (key && !/^[0-9a-z]$/.test(key)) problem = words.keyUnknown;
        else if (key && holder.has(key)) problem = words.keyTaken.replace("{name}", board.name(holder.get(key)));
        else if (key) holder.set(key, Number(input.dataset.label));
        say(input, problem);
        if (problem) fine = false;
      }
      return fine;
    }

    function say(input, problem) {
      document.getElementById(`own-key-error-${input.dataset.label}`).textContent = problem;
      if (problem) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }

    for (const input of inputs) {
      input.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || ["Tab", "Enter", "Escape"].includes(event.code)) return;
        event.preventDefault(); // the physical key counts, whatever an input method makes of it
        const found = /^(?:Digit|Key|Numpad)([0-9A-Z])$/.exec(event.code);
        if (found) input.value = found[1];
        else if (["Backspace", "Delete"].includes(event.code)) input.value = "";
        else return;
        judge();
      });
      input.addEventListener("input", judge); // a touch keyboard has no codes
    }

    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!judge()) return void form.querySelector("[aria-invalid=true]").focus();
      const keys = Object.fromEntries(inputs.map((input) => [input.dataset.label, input.value.trim().toLowerCase()]));
      const answer = await save({ keys });
      if (answer.ok) {
        board.setKeys(new Map(Object.entries(answer.keys).map(([id, key]) => [Number(id), key])));
        form.closest("dialog").close();
        window.wanxing.toast(words.keysSaved, 3);
      } else {
        for (const input of inputs) say(input, (answer.errors || {})[input.dataset.label] || "");
        if (!answer.errors) window.wanxing.toast(words.notSaved, 6);
      }
    });
    document.getElementById("keys-reset").addEventListener("click", () => {
      for (const input of inputs) input.value = (board.byId.get(Number(input.dataset.label)).shared || "").toUpperCase();
      judge();
    });
    fill();
    return { fill };
  },
});
