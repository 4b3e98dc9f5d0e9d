// Adjudication by keyboard: physical keys press the buttons of the form, so an input method swallows nothing.

(() => {
  const form = document.getElementById("adjudicate");
  if (!form) return;
  const started = performance.now();
  const byCode = new Map();
  for (const one of document.querySelectorAll("[data-key], [data-code]")) {
    const { key, code } = one.dataset;
    if (code) byCode.set(code, one);
    else if (key) byCode.set(/[0-9]/.test(key) ? `Digit${key}` : `Key${key.toUpperCase()}`, one);
  }
  let sent = false;

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.repeat) return;
    if (event.target.closest("textarea, select, summary, input:not([type=checkbox])")) return;
    const focused = event.target.closest("button, a");
    if (focused && focused.matches(":focus-visible") && (event.code === "Enter" || event.code === "Space")) return; // presses that one
    const wanted = byCode.get(event.code) || byCode.get(event.code.replace("Numpad", "Digit"));
    if (!wanted) return;
    event.preventDefault();
    wanted.click();
  });

  form.addEventListener("submit", (event) => {
    if (sent) return void event.preventDefault(); // the second press of a double one
    sent = true;
    if (form.elements.seconds) form.elements.seconds.value = ((performance.now() - started) / 1000).toFixed(2);
  });
  window.addEventListener("pageshow", () => { sent = false; });
})();
