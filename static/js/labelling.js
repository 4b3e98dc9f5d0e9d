// The labelling page: one key labels, saves and moves on. The next texts are already here, so the next one is painted
// before the server has answered; what was decided waits in the outbox until it has.

(() => {
  const desk = document.getElementById("labelling");
  const start = JSON.parse(document.getElementById("labelling-data").textContent);
  const words = desk.dataset;
  const form = desk.querySelector(".desk-form");
  const at = (id) => document.getElementById(id);
  const panel = desk.querySelector(".desk-text");
  const keysDialog = at("keys-dialog");
  const several = start.several;

  const LOW = 10; // fetch more when fewer texts than this are at hand
  const DEPTH = 50; // steps of undo kept here; the server keeps as many
  let queue = start.texts.slice(1);
  let current = start.texts[0];
  let source = start.source;
  let suggesting = start.showSuggestions;
  let suggested = start.texts.some((text) => text.suggestion);
  let chosen = new Set(); // where a text may have several labels
  let shownAt = performance.now();
  let fetching = false;
  let exhausted = false;
  let behind = false;
  const seen = new Map([[current.id, current]]); // for "back" and undo
  const done = []; // { decision, text, before }, newest last

  const progress = new window.wanxing.Progress({ start, words });
  const board = new window.wanxing.LabelBoard({ start, words, onChoose: choose, onDone: accept });
  const outbox = new window.wanxing.Outbox({
    url: words.decisionsUrl, user: start.user, project: start.project, onState: showState, onResult: takeResult,
  });
  const comments = new window.wanxing.Comments({ words, send: comment });
  const skipping = window.wanxing.skipPanel({ onSkip: (reason) => decide("skip", [], reason) });

  // What this page holds is renewed while it is open and given back when it is left.
  window.wanxing.keepLeases({
    url: words.leaseUrl, page: start.page, seconds: start.renewSeconds,
    texts: () => (start.listed ? [] : [...queue, ...(current ? [current] : [])].filter((text) => text.status !== "labelled").map((text) => text.id)),
    onLost: (lost) => {
      queue = queue.filter((text) => !lost.has(text.id));
      if (current && lost.has(current.id)) window.wanxing.toast(words.leaseLost, 6);
      if (queue.length < LOW) refill();
    },
  });

  // Deciding ----------------------------------------------------------------------------------

  const suggestionInView = () => (current && suggesting && source === "blind" && current.suggestion) || null;

  function decide(action, labels = [], reason = "") {
    if (!current) return;
    const before = { labels: current.labels, status: current.status, flagged: current.flagged };
    const decision = {
      client_id: window.wanxing.newId(), example: current.id, action, source,
      seconds: Math.round((performance.now() - shownAt) / 10) / 100,
    };
    if (action === "label") decision.labels = labels;
    if (reason) decision.reason = reason;
    if (start.guidelines) decision.guidelines = start.guidelines;
    if (action === "label" || action === "none") decision.suggestion = suggestionInView();
    remember(decision, before);
    if (action !== "skip") {
      Object.assign(current, { labels, status: "labelled" });
      progress.decided();
      for (const id of labels) board.used(id);
    } else if (current.status !== "labelled") {
      current.status = "skipped";
    }
    recount(before, current);
    skipping.close();
    outbox.add(decision);
    advance();
  }

  // One label: decided. Several: on or off, and the finder may go on; whatever was meant is saved by Enter.
  function choose(id) {
    if (!current) return false;
    if (!several) {
      decide("label", [id]);
      return false;
    }
    if (!chosen.delete(id)) chosen.add(id);
    paintChosen();
    return true;
  }

  function accept() {
    const suggestion = suggestionInView();
    if (several && chosen.size) return decide("label", inOrder(chosen));
    if (suggestion) return decide("label", several ? inOrder(new Set(suggestion.labels)) : [suggestion.label]);
    if (several && current) window.wanxing.toast(words.noneChosen, 4);
  }

  const inOrder = (ids) => board.labels.filter((label) => ids.has(label.id)).map((label) => label.id);

  function toggleFlag() {
    if (!current) return;
    const before = { labels: current.labels, status: current.status, flagged: current.flagged };
    current.flagged = !current.flagged;
    const decision = { client_id: window.wanxing.newId(), example: current.id, action: current.flagged ? "flag" : "unflag", source };
    remember(decision, before);
    outbox.add(decision);
    paintMarks();
    window.wanxing.toast(current.flagged ? words.flagged : words.unflagged, 2);
  }

  function comment(text, typed) {
    outbox.add({ client_id: window.wanxing.newId(), action: "comment", example: text.id, text: typed });
    text.comments += 1;
    paintMarks();
    window.wanxing.toast(words.commented, 2);
  }

  function remember(decision, before) {
    done.push({ decision, text: current, before });
    if (done.length > DEPTH) done.shift();
  }

  function recount(before, after) {
    progress.count(before.labels, -1, 0);
    progress.count(after.labels, +1, (after.status === "labelled") - (before.status === "labelled"));
  }

  function undo() {
    const last = done.pop();
    skipping.close();
    if (last) {
      const after = { labels: last.text.labels, status: last.text.status };
      Object.assign(last.text, last.before);
      recount(after, last.text);
      if (last.decision.action === "label" || last.decision.action === "none") progress.undone();
      putBack();
      show(last.text, { push: last.text !== current });
    }
    // After a reload the server knows what was last, and answers with the text.
    outbox.add({ client_id: window.wanxing.newId(), action: "undo", target: last ? last.decision.client_id : null });
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
      if (text && text !== current && decision.action !== "comment" && result.error.code !== "unknown_text") {
        Object.assign(text, { labels: [], status: "open" });
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
    source = start.listed ? start.source : "blind";
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
    const query = new URLSearchParams({ ...start.way, have: [...have].slice(0, 300).join(","), page: start.page });
    try {
      const response = await fetch(`${words.nextUrl}?${query}`, { redirect: "manual", credentials: "same-origin" });
      if (!response.ok) throw new Error("no answer");
      const answer = await response.json();
      const decided = new Set(done.filter((one) => one.text.status !== "open").map((one) => one.text.id));
      const here = new Set([...queue.map((text) => text.id), ...(current ? [current.id] : []), ...(start.way.skipped ? [] : decided)]);
      queue.push(...answer.texts.filter((text) => !here.has(text.id)));
      progress.take(answer, !outbox.size);
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
    for (const [name, value] of Object.entries(start.way)) address.searchParams.set(name, value);
    location.assign(address);
  }

  window.addEventListener("popstate", (event) => {
    const text = event.state && seen.get(event.state.text);
    if (!text) return void location.reload();
    putBack();
    queue = queue.filter((one) => one.id !== text.id);
    current = text;
    shownAt = performance.now();
    skipping.close();
    paint();
  });

  // A text that another tab of this person has just decided is not shown here again.
  window.addEventListener("storage", (event) => {
    if (!event.key || !event.key.startsWith(outbox.prefix) || !event.newValue) return;
    const decision = JSON.parse(event.newValue);
    if (["label", "none", "skip"].includes(decision.action)) {
      queue = queue.filter((text) => text.id !== decision.example);
      if (current && current.id === decision.example) advance();
    }
  });

  // Painting ----------------------------------------------------------------------------------

  function paint() {
    const text = at("text");
    const shown = current ? current.text : navigator.onLine && outbox.condition === "ok" ? words.waiting : words.waitingOffline;
    // The two texts of a pair have a tab between them.
    const tab = shown.indexOf("\t");
    text.replaceChildren(...(tab < 0 ? [shown] : [shown.slice(0, tab), shown.slice(tab + 1)]).map((part) => Object.assign(document.createElement("span"), { className: "text-part", textContent: part })));
    text.classList.toggle("muted", !current);
    panel.scrollTop = 0;
    chosen = new Set(current ? current.labels : []);
    if (current) form.elements.example.value = current.id;
    at("why").textContent = (current && current.why) || "";
    paintChosen();
    paintSuggestion();
    paintMarks();
    progress.paint();
  }

  function paintChosen() {
    board.press(several ? chosen : current ? current.labels : []);
    if (!several) return;
    const none = current && current.status === "labelled" && !current.labels.length && !chosen.size;
    at("chosen").replaceChildren(...inOrder(chosen).map((id) => board.mark(id)), ...(none ? [words.none] : []));
    at("several-hint").hidden = chosen.size > 0 || none;
  }

  function paintSuggestion() {
    const suggestion = suggestionInView();
    const box = at("suggestion");
    if (suggestion) suggested = true; // from the first one on it keeps its place, so that nothing moves
    box.hidden = !suggested || !suggesting;
    box.classList.toggle("absent", !suggestion);
    if (!suggestion) return;
    box.querySelector(".suggestion-labels").replaceChildren(...(several ? suggestion.labels : [suggestion.label]).map((id) => board.mark(id)));
    at("suggestion-probability").textContent = `${Math.round(suggestion.probability * 100)}%`;
    at("suggestion-source").textContent = { zero_shot: words.fromZeroShot, probe: words.fromProbe }[suggestion.source] || words.fromRun;
  }

  function paintMarks() {
    const flagged = Boolean(current && current.flagged);
    at("flag-mark").hidden = !flagged;
    at("flag-button").setAttribute("aria-pressed", String(flagged));
    at("comment-mark").hidden = !(current && current.comments);
    at("comment-mark").querySelector("span").textContent = current ? current.comments : "";
  }

  function showState({ condition, waiting, unstored }) {
    if (!waiting && behind) {
      behind = false;
      refill();
    }
    const sentences = { offline: words.offline, refused: words.refused, removed: words.removed, other: words.otherUser, expired: words.expired };
    let says = waiting ? (waiting > 1 ? words.pending : words.saving) : words.saved;
    if (waiting && condition !== "ok") says = sentences[condition];
    if (waiting && unstored) says = words.unstored;
    says = says.replace("{n}", waiting);
    const box = at("save-state");
    box.className = `save-state ${waiting && condition !== "ok" ? "bad" : waiting ? "busy" : "good"}`;
    if (waiting && condition === "expired") {
      const link = Object.assign(document.createElement("a"), {
        href: `${words.signInUrl}?next=${encodeURIComponent(words.pageUrl)}`, target: "_blank", textContent: says,
      });
      box.replaceChildren(link);
    } else if (box.textContent !== says) {
      box.textContent = says;
    }
  }

  // Keys and clicks ---------------------------------------------------------------------------

  const { save } = window.wanxing.deskSettings({
    words,
    onGoal: (goal) => {
      progress.goal = goal;
      progress.paint();
    },
    onSuggestionsHidden: () => {
      suggesting = false;
      paintSuggestion();
    },
  });
  const ownKeys = window.wanxing.ownKeys({ board, words, save });

  function toggleKeys() {
    if (keysDialog.open) return keysDialog.close();
    ownKeys.fill();
    keysDialog.showModal();
  }

  const openComments = () => current && comments.open(current);

  window.wanxing.listenToKeys({
    board,
    acts: {
      skip: () => current && skipping.ask(), undo, accept, flag: toggleFlag, keys: toggleKeys, comment: openComments,
      ...(several ? { none: () => decide("none") } : {}),
    },
    onLabel: choose,
    isSkipping: skipping.isOpen,
    onSkipKey: skipping.key,
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (!button) return;
    button.blur();
    if (event.detail > 1) return;
    if (button.name === "label") choose(Number(button.value));
    else ({ undo, skip: () => current && skipping.ask(), flag: toggleFlag, unflag: toggleFlag })[button.value]();
  });
  // The second click of a double click belongs to the first one.
  form.addEventListener("click", (event) => {
    if (event.detail > 1 && event.target.closest("button")) event.preventDefault();
  });

  const onClick = (id, act) => at(id)?.addEventListener("click", (event) => {
    event.currentTarget.blur();
    if (event.detail < 2) act();
  });
  onClick("accept", accept);
  onClick("save-several", accept);
  onClick("none-button", () => decide("none"));
  onClick("keys-button", toggleKeys);
  onClick("comment-button", openComments);
  onClick("comment-mark", openComments);
  for (const button of document.querySelectorAll("dialog [data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  for (const select of document.querySelectorAll("form[data-autosubmit] select")) select.addEventListener("change", () => select.form.submit());

  // Begin: what an earlier visit left is sent first, and is not asked again.
  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
  if (matchMedia("(min-width: 801px)").matches) at("progress-fold").open = true;
  else at("guidelines")?.removeAttribute("open");
  const waiting = new Set(outbox.texts());
  if (waiting.has(current.id) && source !== "review") advance();
  else show(current, { push: false });
  outbox.restore().then(() => {
    behind = outbox.size > 0; // the counts came without what an earlier visit left
    outbox.flush(true);
  });
  if (queue.length < LOW) refill();
})();
