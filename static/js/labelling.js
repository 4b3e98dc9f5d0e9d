// The labelling page: one key labels, saves and moves on. The next texts are already here, so the next one is painted
// before the server has answered; what was decided waits in the outbox until it has.

(() => {
  const desk = document.getElementById("labelling");
  const start = JSON.parse(document.getElementById("labelling-data").textContent);
  const words = desk.dataset;
  const form = desk.querySelector(".desk-form");
  const textBox = document.getElementById("text");
  const panel = desk.querySelector(".desk-text");
  const flagMark = document.getElementById("flag-mark");
  const flagButton = document.getElementById("flag-button");
  const filter = document.getElementById("label-filter");
  const dialog = document.getElementById("keys-dialog");
  const saveState = document.getElementById("save-state");
  const buttons = [...document.querySelectorAll("#label-keys button")];
  const byCode = new Map(buttons.filter((one) => one.dataset.key).map((one) => [codeOf(one.dataset.key), one]));

  const LOW = 4; // fetch more when fewer texts than this are at hand
  let queue = start.texts.slice(1);
  let current = start.texts[0];
  let source = start.source;
  let shownAt = performance.now();
  let fetching = false;
  let exhausted = false;
  const seen = new Map([[current.id, current]]); // for "back" and undo
  const done = []; // { decision, text, before }, newest last; fifty at most
  const times = [];
  const counts = { done: start.done, mine: start.mine, total: start.total, perLabel: { ...start.perLabel } };

  const outbox = new window.wanxing.Outbox({
    url: words.decisionsUrl, user: start.user, project: start.project, onState: showState, onResult: takeResult,
  });

  // What this page holds is renewed while it is open and given back when it is left.
  window.wanxing.keepLeases({
    url: words.leaseUrl, page: start.page, seconds: start.renewSeconds,
    texts: () => [...queue, ...(current ? [current] : [])].filter((text) => text.status !== "labelled").map((text) => text.id),
    onLost: (lost) => {
      queue = queue.filter((text) => !lost.has(text.id));
      if (current && lost.has(current.id)) window.wanxing.toast(words.leaseLost, 6);
      if (queue.length < LOW) refill();
    },
  });

  // Deciding ----------------------------------------------------------------------------------

  function decide(action, label = null) {
    if (!current) return;
    const before = { ...current };
    const decision = {
      client_id: newId(), example: current.id, action, label, source,
      seconds: Math.round((performance.now() - shownAt) / 10) / 100,
    };
    done.push({ decision, text: current, before });
    if (done.length > 50) done.shift();
    count(before.label, -1);
    if (action === "label") {
      Object.assign(current, { label, status: "labelled" });
      pace();
    } else if (action === "skip" && current.label === null) {
      current.status = "skipped";
    }
    count(current.label, +1);
    if (action === "label" && before.label === null) counts.mine += 1;
    outbox.add(decision);
    advance();
  }

  function toggleFlag() {
    if (!current) return;
    current.flagged = !current.flagged;
    const decision = { client_id: newId(), example: current.id, action: current.flagged ? "flag" : "unflag", source };
    done.push({ decision, text: current, before: { ...current, flagged: !current.flagged } });
    outbox.add(decision);
    paintFlag();
    window.wanxing.toast(current.flagged ? words.flagged : words.unflagged, 2);
  }

  function undo() {
    const last = done.pop();
    const decision = { client_id: newId(), action: "undo", target: last ? last.decision.client_id : null };
    if (last) {
      count(last.text.label, -1);
      Object.assign(last.text, last.before);
      count(last.text.label, +1);
      if (last.decision.action === "label" && last.before.label === null) counts.mine -= 1;
      times.pop();
      putBack();
      show(last.text, { push: last.text !== current });
    }
    outbox.add(decision); // after a reload the server knows what was last, and answers with the text
  }

  // What came of a decision. Only surprises are shown.
  function takeResult(decision, result) {
    if (!result.ok) {
      if (decision.action === "undo" && result.error.code === "nothing_to_undo") {
        window.wanxing.toast(words.nothingToUndo, 3);
        return;
      }
      window.wanxing.toast(words.lost.replace("{why}", result.error.message), 10);
      const text = seen.get(decision.example);
      if (text && text !== current && result.error.code !== "unknown_text") {
        Object.assign(text, { label: null, status: "open" });
        queue.unshift(text);
      }
      return;
    }
    if (result.notice) window.wanxing.toast(result.notice, 10);
    if (decision.action === "undo") {
      const known = seen.get(result.example.id);
      if (known) Object.assign(known, result.example);
      if (!decision.target) {
        const text = known || result.example;
        seen.set(text.id, text);
        putBack();
        show(text, { push: true });
        window.wanxing.toast(words.undone, 2);
      } else if (known === current) {
        paint();
      }
    }
  }

  // Moving ------------------------------------------------------------------------------------

  function putBack() {
    if (current && current.status !== "labelled") queue = [current, ...queue.filter((one) => one.id !== current.id)];
  }

  function advance() {
    source = "blind";
    const waiting = new Set(outbox.texts());
    queue = queue.filter((text) => !waiting.has(text.id));
    const next = queue.shift() || null;
    show(next, { push: true });
    if (!next && exhausted) finish();
    else if (queue.length < LOW) refill();
  }

  function show(text, { push }) {
    if (text) queue = queue.filter((one) => one.id !== text.id);
    current = text;
    shownAt = performance.now();
    if (text) {
      seen.set(text.id, text);
      const address = new URL(location.href);
      address.searchParams.set("text", text.id);
      address.searchParams.delete("source");
      history[push ? "pushState" : "replaceState"]({ text: text.id }, "", address);
    }
    paint();
  }

  async function refill() {
    if (fetching || exhausted) return;
    fetching = true;
    const have = new Set([...queue.map((text) => text.id), ...outbox.texts(), ...(current ? [current.id] : [])]);
    const query = new URLSearchParams({ have: [...have].slice(0, 300).join(","), order: start.order, page: start.page });
    if (start.revisit) query.set("skipped", "1");
    try {
      const response = await fetch(`${words.nextUrl}?${query}`, { redirect: "manual", credentials: "same-origin" });
      if (!response.ok) throw new Error("no answer");
      const answer = await response.json();
      const decided = new Set(done.filter((one) => one.text.status !== "open").map((one) => one.text.id));
      const at = new Set([...queue.map((text) => text.id), ...(current ? [current.id] : []), ...(start.revisit ? [] : decided)]);
      queue.push(...answer.texts.filter((text) => !at.has(text.id)));
      counts.total = answer.total;
      if (!outbox.size) Object.assign(counts, { done: answer.done, mine: answer.mine, perLabel: answer.perLabel });
      paintProgress();
      exhausted = answer.texts.length === 0;
    } catch {
      setTimeout(refill, 3000);
    } finally {
      fetching = false;
    }
    if (!current && queue.length) show(queue.shift(), { push: true });
    else if (!current && exhausted) finish();
  }

  // Nothing left: once all is stored, the page itself says what to do next.
  function finish() {
    if (current) return; // an undo brought one back
    if (outbox.size) return void setTimeout(finish, 300);
    const address = new URL(words.pageUrl, location.href);
    if (start.revisit) address.searchParams.set("skipped", "1");
    location.assign(address);
  }

  window.addEventListener("popstate", (event) => {
    const text = event.state && seen.get(event.state.text);
    if (!text) return void location.reload();
    putBack();
    queue = queue.filter((one) => one.id !== text.id);
    current = text;
    shownAt = performance.now();
    paint();
  });

  // A text that another tab of this person has just decided is not shown here again.
  window.addEventListener("storage", (event) => {
    if (!event.key || !event.key.startsWith(outbox.prefix) || !event.newValue) return;
    const decision = JSON.parse(event.newValue);
    if (decision.action === "label" || decision.action === "skip") {
      queue = queue.filter((text) => text.id !== decision.example);
      if (current && current.id === decision.example) advance();
    }
  });

  // Painting ----------------------------------------------------------------------------------

  function paint() {
    textBox.textContent = current ? current.text : navigator.onLine && outbox.condition === "ok" ? words.waiting : words.waitingOffline;
    textBox.classList.toggle("muted", !current);
    panel.scrollTop = 0;
    for (const button of buttons) button.setAttribute("aria-pressed", String(Boolean(current) && Number(button.value) === current.label));
    if (current) form.elements.example.value = current.id;
    if (filter.value) {
      filter.value = "";
      narrow();
    }
    paintFlag();
    paintProgress();
  }

  function paintFlag() {
    const flagged = Boolean(current && current.flagged);
    flagMark.hidden = !flagged;
    flagButton.setAttribute("aria-pressed", String(flagged));
  }

  function paintProgress() {
    setText("done", counts.done);
    setText("done-side", counts.done);
    setText("total", counts.total);
    setText("mine", counts.mine);
    document.getElementById("done-bar").setAttribute("width", counts.total ? Math.min(100, (100 * counts.done) / counts.total) : 0);
    for (const cell of document.querySelectorAll("[data-count]")) cell.textContent = counts.perLabel[cell.dataset.count] || 0;
  }

  function showState({ condition, waiting, unstored }) {
    const fill = (sentence) => sentence.replace("{n}", waiting);
    let words_ = waiting ? fill(words.pending) : words.saved;
    if (waiting && condition === "ok") words_ = waiting > 1 ? fill(words.pending) : words.saving;
    if (waiting && condition === "offline") words_ = fill(words.offline);
    if (waiting && condition === "refused") words_ = fill(words.refused);
    if (waiting && unstored) words_ = words.unstored;
    saveState.className = `save-state ${waiting && condition !== "ok" ? "bad" : waiting ? "busy" : "good"}`;
    if (waiting && condition === "expired") {
      const link = Object.assign(document.createElement("a"), {
        href: `${words.signInUrl}?next=${encodeURIComponent(words.pageUrl)}`, target: "_blank", textContent: fill(words.expired),
      });
      saveState.replaceChildren(link);
    } else if (saveState.textContent !== words_) {
      saveState.textContent = words_;
    }
  }

  function count(label, by) {
    if (label === null || label === undefined) return;
    counts.perLabel[label] = Math.max(0, (counts.perLabel[label] || 0) + by);
    counts.done = Math.max(0, counts.done + by);
  }

  // Labels a minute over the last twenty, pauses of more than a minute left out.
  function pace() {
    times.push(performance.now());
    if (times.length > 21) times.shift();
    let spent = 0;
    let steps = 0;
    for (let index = 1; index < times.length; index += 1) {
      const gap = times[index] - times[index - 1];
      if (gap < 60000) {
        spent += gap;
        steps += 1;
      }
    }
    setText("pace", steps >= 4 && spent > 0 ? words.pace.replace("{n}", Math.round((steps * 60000) / spent)) : "");
  }

  function setText(id, value) {
    document.getElementById(id).textContent = value;
  }

  // Finding a label by its name ---------------------------------------------------------------

  function narrow() {
    const wanted = filter.value.trim().toLowerCase();
    for (const button of buttons) button.hidden = Boolean(wanted) && !button.textContent.toLowerCase().includes(wanted);
    const any = buttons.some((button) => !button.hidden);
    filter.setCustomValidity(any ? "" : words.noMatch);
    filter.setAttribute("aria-invalid", String(!any));
  }

  filter.addEventListener("input", narrow);
  filter.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // Enter ends the composition, it does not choose yet
    if (event.code === "Enter" || event.code === "NumpadEnter") {
      event.preventDefault();
      const first = buttons.find((button) => !button.hidden);
      if (filter.value.trim() && first) choose(first);
    } else if (event.code === "Escape") {
      event.preventDefault();
      filter.value = "";
      narrow();
      filter.blur();
    }
  });

  // Keys and clicks ---------------------------------------------------------------------------

  function choose(button) {
    decide("label", Number(button.value));
    filter.blur();
  }

  // Physical keys: what an input method makes of them does not matter.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target.closest("input, textarea, select, summary, a")) return;
    if (event.code === "Slash") {
      event.preventDefault();
      if (event.shiftKey) return void (dialog.open ? dialog.close() : dialog.showModal());
      filter.parentElement.hidden = false;
      return void filter.focus();
    }
    if (dialog.open || event.shiftKey) return;
    if (event.code === "Space" && target.closest("button") && target.matches(":focus-visible")) return; // presses that button
    const label = byCode.get(event.code) || byCode.get(event.code.replace("Numpad", "Digit"));
    const act = label ? () => choose(label) : { Space: () => decide("skip"), Backspace: undo, KeyF: toggleFlag }[event.code];
    if (!act) return;
    event.preventDefault();
    if (!event.repeat) act(); // a key that is held down decides once
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (!button) return;
    button.blur();
    if (event.detail > 1) return;
    if (button.name === "label") choose(button);
    else if (button.value === "undo") undo();
    else if (button.value === "skip") decide("skip");
    else toggleFlag();
  });
  // The second click of a double click belongs to the first one.
  form.addEventListener("click", (event) => {
    if (event.detail > 1 && event.target.closest("button")) event.preventDefault();
  });

  document.getElementById("keys-button").addEventListener("click", () => dialog.showModal());
  for (const select of document.querySelectorAll("form[data-autosubmit] select")) select.addEventListener("change", () => select.form.submit());

  function codeOf(key) {
    return /[0-9]/.test(key) ? `Digit${key}` : `Key${key.toUpperCase()}`;
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

  // Begin: what an earlier visit left is sent first, and is not asked again.
  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
  if (buttons.some((button) => !button.dataset.key)) filter.parentElement.hidden = false;
  if (matchMedia("(min-width: 801px)").matches) document.getElementById("progress-fold").open = true;
  else document.getElementById("guidelines")?.removeAttribute("open");
  const waiting = new Set(outbox.texts());
  if (waiting.has(current.id) && source !== "review") advance();
  else show(current, { push: false });
  outbox.flush(true);
  if (queue.length < LOW) refill();
})();
