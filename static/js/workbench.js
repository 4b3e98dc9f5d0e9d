// The workbench: one draft of words and prompt, checked and answered while it is written.
(() => {
  const bench = document.getElementById("workbench");
  const form = document.getElementById("labels-form");
  const template = document.getElementById("template");
  const { Asker, place } = globalThis.WorkbenchAsk;
  const words = bench.dataset;
  const mayEdit = !template.readOnly;
  const DRAFTED = /^(?:name|words)-\d+$|^template$/;
  const CHECK_AFTER = 40;

  // What is asked about: the fields that differ from what is stored, or all where the page came back with mistakes.
  function fields(extra = {}) {
    const body = new URLSearchParams(extra);
    for (const field of form.elements) {
      if (DRAFTED.test(field.name) && (words.typed || field.value !== field.defaultValue)) body.set(field.name, field.value);
    }
    return body;
  }

  // Steps back -------------------------------------------------------------------------------------------------
  const undo = document.getElementById("undo");
  const past = [];
  const state = () => [...form.elements].filter((field) => DRAFTED.test(field.name)).map((field) => [field, field.value]);
  function remember() {
    past.push(state());
    if (past.length > 50) past.shift();
    if (undo) undo.hidden = false;
  }
  function stepBack() {
    const changed = past.pop()?.filter(([field, value]) => field.value !== value) ?? [];
    for (const [field, value] of changed) field.value = value;
    undo.hidden = !past.length;
    tell(changed.map(([field]) => field));
  }
  function tell(changed) {
    for (const field of changed) field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  undo?.addEventListener("click", stepBack);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (undo && past.length && (event.ctrlKey || event.metaKey) && event.key === "z" && !event.shiftKey && !typing) {
      event.preventDefault();
      stepBack();
    }
  });

  // The prompt --------------------------------------------------------------------------------------------------
  const chips = new globalThis.ChipEditor({
    root: document.getElementById("chips"),
    textarea: template,
    under: document.getElementById("template-under"),
    readOnly: !mayEdit,
    beforeChange: remember,
  });
  const parts = document.getElementById("template-parts");
  if (parts) {
    parts.hidden = false;
    for (const button of parts.querySelectorAll("button")) button.addEventListener("click", () => chips.insert(button.dataset.insert));
  }
  for (const button of bench.querySelectorAll(".library-pick")) {
    button.addEventListener("click", () => {
      remember();
      template.value = button.dataset.template;
      tell([template]);
      template.scrollIntoView({ block: "center" });
    });
  }
  template.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault(); // a template is one line
  });

  // Checks: from the vocabulary alone, so they come even where no worker lives -----------------------------------
  const errorPlace = document.getElementById("template-error");
  const check = new Asker({
    url: words.check,
    onAnswer: (html) => {
      place(html);
      const report = document.getElementById("prompt-report");
      const { error, at, end, masks } = report.dataset;
      chips.setMasks(Number(masks));
      chips.setError(error ? { at: at === undefined ? null : Number(at), end: end === undefined ? null : Number(end) } : null);
      if (errorPlace.textContent !== error) errorPlace.textContent = error;
      template.toggleAttribute("aria-invalid", Boolean(error));
      if (error) template.setAttribute("aria-invalid", "true");
      find();
    },
    onTrouble: (condition) => trouble(condition),
  });
  const line = document.getElementById("bench-trouble");
  function trouble(condition) {
    line.hidden = !condition;
    line.querySelector("p").textContent = { expired: words.expired, offline: document.body.dataset.offline }[condition] ?? condition;
  }

  let timer = null;
  function changed(event) {
    const name = event?.target.name ?? "";
    if (event && !DRAFTED.test(name)) return;
    if (event?.isComposing) return;
    const since = event?.timeStamp ?? performance.now();
    clearTimeout(timer);
    timer = setTimeout(() => {
      line.hidden = true;
      check.ask(fields(), since);
      bench.dispatchEvent(new CustomEvent("workbench:changed", { detail: { since } }));
    }, event ? CHECK_AFTER : 0);
  }
  form.addEventListener("input", changed);
  form.addEventListener("compositionend", changed);

  // Finding a label among many -------------------------------------------------------------------------------------
  const finder = document.getElementById("row-finder");
  const rows = [...document.querySelectorAll("#label-rows > li")];
  const sought = document.getElementById("find-row");
  const onlyProblems = document.getElementById("only-problems");
  function find() {
    if (!finder) return;
    const asked = sought.value.trim().toLowerCase();
    for (const row of rows) {
      const text = `${row.querySelector(".row-name input").value} ${row.querySelector(".words-input").value}`.toLowerCase();
      const problem = row.querySelector(".word-bad, .word-warn, [aria-invalid=true]");
      row.hidden = (asked && !text.includes(asked)) || (onlyProblems.checked && !problem && !row.contains(document.activeElement));
    }
  }
  if (finder) {
    finder.hidden = false;
    sought.addEventListener("input", find);
    onlyProblems.addEventListener("change", find);
    sought.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
  }

  // Drafts ------------------------------------------------------------------------------------------------------------
  const offer = document.getElementById("draft-offer");
  const unsaved = document.getElementById("labels-unsaved");
  if (mayEdit) {
    const draft = new globalThis.WorkbenchDraft({
      form,
      key: words.draft,
      typed: Boolean(words.typed),
      onState: (open) => { unsaved.hidden = !open; },
      offer: {
        show: ({ at, template: prompt, labels }) => {
          const when = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" }).format(at);
          const what = [prompt && words.draftTemplate, labels && words.draftLabels.replace("{n}", labels)].filter(Boolean).join(words.comma);
          document.getElementById("draft-what").textContent = `${what} · ${when}`;
          offer.hidden = false;
        },
      },
    });
    document.getElementById("draft-take").addEventListener("click", () => {
      remember();
      tell(draft.take());
      offer.hidden = true;
    });
    document.getElementById("draft-drop").addEventListener("click", () => {
      draft.drop();
      offer.hidden = true;
    });
  }

  globalThis.workbench = { bench, form, fields, remember, tell, trouble };
  // Once every script of the page listens, however late it came.
  document.addEventListener("DOMContentLoaded", () => changed());
})();
