// What the model says to the draft: ten texts at once, then how it takes the words, then accuracy on what is labelled.
(() => {
  const answers = document.getElementById("answers");
  const { bench, fields, remember, tell } = globalThis.workbench;
  const { Asker, place } = globalThis.WorkbenchAsk;
  const WORDS_AFTER = 250;
  const ACCURACY_AFTER = 500;
  const AGAIN_AFTER = [4000, 8000, 15000, 30000];
  const editor = crypto.getRandomValues(new Uint32Array(2)).join("-");
  const show = document.getElementById("answers-show");
  const query = document.getElementById("answers-q");
  const method = document.getElementById("answers-method");
  const calibrated = document.getElementById("answers-calibrated");
  let number = 0;
  let page = 0;
  let failures = 0;
  const timers = {};
  answers.hidden = false;
  query.value = "";

  function later(name, step, milliseconds) {
    clearTimeout(timers[name]);
    timers[name] = setTimeout(step, milliseconds);
  }
  const draft = () => fields({ editor, number });

  // After the frame that shows it has been painted.
  function drawn(name, since) {
    requestAnimationFrame(() => setTimeout(() => performance.measure(name, { start: since, end: performance.now() })));
  }

  const offline = (condition) => (condition === "offline" ? answers.dataset.offline : bench.dataset[condition] ?? condition);
  function state() {
    const line = document.getElementById("answer-state");
    answers.classList.toggle("stale", Boolean(line.dataset.stale));
    if (line.dataset.again) return again();
    failures = 0;
    return clearTimeout(timers.again);
  }
  function again() {
    later("again", () => ask(), AGAIN_AFTER[Math.min(failures, AGAIN_AFTER.length - 1)]);
    failures += 1;
  }

  const texts = new Asker({
    url: answers.dataset.answers,
    onAnswer: (html, _number, since) => {
      place(html);
      drawn("workbench-answers", since);
      state();
      if (answers.classList.contains("stale")) return;
      later("words", () => words.ask(draft(), since), WORDS_AFTER);
      later("accuracy", () => {
        document.getElementById("accuracy").classList.add("asking");
        accuracy.ask(draft(), since);
      }, ACCURACY_AFTER);
    },
    onTrouble: (condition) => {
      const line = document.getElementById("answer-state");
      line.textContent = offline(condition);
      line.className = "notice notice-warn";
      answers.classList.add("stale");
      if (condition === "offline") again();
    },
  });
  const words = new Asker({ url: answers.dataset.words, onAnswer: place, onTrouble: () => {} });
  const accuracy = new Asker({
    url: answers.dataset.accuracy,
    onAnswer: (html, _number, since) => {
      place(html);
      drawn("workbench-accuracy", since);
    },
    onTrouble: () => {},
  });

  function ask(since = performance.now()) {
    number += 1;
    words.stop();
    accuracy.stop();
    for (const name of ["words", "accuracy", "again"]) clearTimeout(timers[name]);
    const body = draft();
    body.set("show", show.value);
    body.set("page", page);
    if (show.value === "search") body.set("q", query.value);
    texts.ask(body, since);
  }

  bench.addEventListener("workbench:changed", (event) => ask(event.detail.since));
  document.getElementById("answers-more").addEventListener("click", () => {
    page += 1;
    ask();
  });
  show.addEventListener("change", () => {
    page = 0;
    query.hidden = show.value !== "search";
    if (!query.hidden) query.focus();
    ask();
  });
  query.addEventListener("input", () => {
    page = 0;
    later("query", () => ask(), 150);
  });
  // Backbone and reading belong to the project: kept first, asked then.
  for (const select of [method, document.getElementById("answers-backbone")].filter(Boolean)) {
    select.addEventListener("change", async () => {
      const body = new URLSearchParams({ method: method.value, backbone: document.getElementById("answers-backbone")?.value ?? "" });
      await fetch(answers.dataset.choice, { method: "POST", headers: { "X-CSRFToken": window.wanxing.csrfToken(), "HX-Request": "true" }, body });
      ask();
    });
  }
  calibrated.addEventListener("change", () => { answers.dataset.by = calibrated.checked ? "calibrated" : "raw"; });

  // Words for a label ------------------------------------------------------------------------------------------
  const rows = document.getElementById("label-rows");
  let finding = null;
  const proposals = new Map();
  for (const button of rows.querySelectorAll(".find-words")) {
    button.hidden = false;
    const row = button.closest(".label-row");
    const label = row.dataset.label;
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      finding?.stop();
      for (const other of rows.querySelectorAll(".find-words[aria-expanded=true]")) other.setAttribute("aria-expanded", "false");
      for (const one of rows.querySelectorAll(".proposals")) one.replaceChildren();
      if (open) return;
      button.setAttribute("aria-expanded", "true");
      const there = document.getElementById(`proposals-${label}`);
      there.textContent = button.dataset.waiting;
      finding = new Asker({ url: button.dataset.url, onAnswer: place, onTrouble: (condition) => { there.textContent = offline(condition); } });
      proposals.set(label, (proposals.get(label) ?? 0) + 1);
      finding.ask(fields({ editor: `${editor}-${label}`, number: proposals.get(label) }));
    });
  }
  rows.addEventListener("click", (event) => {
    const button = event.target.closest("[data-add], [data-replace]");
    if (!button) return;
    const input = button.closest(".label-row").querySelector(".words-input");
    const { add, replace } = button.dataset;
    remember();
    input.value = replace || [input.value.trim(), add].filter(Boolean).join(bench.dataset.wordComma);
    tell([input]);
  });

})();
