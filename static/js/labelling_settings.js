// What a person sets for their own labelling page: a goal, suggestions hidden, changes of the guidelines looked at.

window.wanxing = Object.assign(window.wanxing || {}, {
  deskSettings({ words, onGoal, onSuggestionsHidden }) {
    const at = (id) => document.getElementById(id);

    async function save(values) {
      try {
        const response = await fetch(words.settingsUrl, {
          method: "POST", body: JSON.stringify(values), redirect: "manual", credentials: "same-origin",
          headers: { "Content-Type": "application/json", "X-CSRFToken": window.wanxing.csrfToken() },
        });
        return response.type === "opaqueredirect" ? { ok: false } : await response.json();
      } catch {
        return { ok: false };
      }
    }

    // Stores `values`; says so where that did not work.
    async function change(values) {
      const answer = await save(values);
      if (!answer.ok) window.wanxing.toast(words.notSaved, 6);
      return answer;
    }

    at("goal").addEventListener("change", async (event) => {
      const answer = await change({ goal: event.target.value || null });
      if (answer.ok) onGoal(answer.goal);
    });
    at("show-suggestions")?.addEventListener("change", async (event) => {
      const shown = event.target.checked;
      event.target.blur(); // the keys go on deciding
      const answer = await change({ hide_suggestions: !shown });
      if (!answer.ok) event.target.checked = !shown;
      else if (shown) location.reload(); // the texts at hand came without them
      else onSuggestionsHidden();
    });
    at("guidelines-seen")?.addEventListener("click", async (event) => {
      const answer = await change({ seen_guidelines: Number(event.target.closest("button").dataset.version) });
      if (!answer.ok) return;
      at("guidelines-news").remove();
      document.querySelector("#guidelines summary .badge").remove();
    });
    return { save };
  },
});
