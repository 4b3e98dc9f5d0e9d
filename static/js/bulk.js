// Many at once: ticks by click, by Shift and a click, or by keys; the label by its own key; one sending.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
  const form = document.getElementById("bulk-form");
  const dialog = document.getElementById("keys-dialog");
  const undo = document.getElementById("undo-form");
  const boxes = form ? [...form.querySelectorAll(".bulk-item input")] : [];
  const select = document.getElementById("bulk-label");
  let anchor = 0;

  function count() {
    const n = boxes.filter((box) => box.checked).length;
    document.getElementById("bulk-count").textContent = form.dataset.one.replace("{n}", n);
    document.getElementById("bulk-go").disabled = n === 0;
  }

  // From the last one that was touched to this one, all as this one is now.
  function stretch(to) {
    const [low, high] = anchor < to ? [anchor, to] : [to, anchor];
    for (let at = low; at <= high; at += 1) boxes[at].checked = boxes[to].checked;
  }

  boxes.forEach((box, at) => {
    box.addEventListener("click", (event) => {
      if (event.shiftKey) stretch(at);
      anchor = at;
      count();
    });
    // Shift and a click on the text would select words.
    box.closest("label").addEventListener("mousedown", (event) => {
      if (event.shiftKey) event.preventDefault();
    });
  });

  if (form) {
    for (const [id, ticked] of [["tick-all", true], ["tick-none", false]]) {
      document.getElementById(id).addEventListener("click", () => {
        for (const box of boxes) box.checked = ticked;
        count();
      });
    }
    count(); // a page that comes back from the history keeps its ticks
    boxes[0]?.focus({ preventScroll: true });
  }

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.isComposing) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.code === "Enter" && form) {
        event.preventDefault();
        if (!document.getElementById("bulk-go").disabled) form.requestSubmit(document.getElementById("bulk-go"));
      }
      return;
    }
    const target = event.target;
    const typing = target.closest("select, textarea, input:not([type=checkbox])");
    if (event.code === "Slash" && event.shiftKey && dialog && !typing) {
      event.preventDefault();
      return void (dialog.open ? dialog.close() : dialog.showModal());
    }
    if (typing || (dialog && dialog.open)) return;
    if (event.code === "Backspace" && undo) {
      event.preventDefault();
      if (!event.repeat) undo.requestSubmit();
      return;
    }
    if (!boxes.length) return;
    const at = boxes.indexOf(document.activeElement);
    const by = { KeyJ: 1, ArrowDown: columns(), ArrowRight: 1, KeyK: -1, ArrowUp: -columns(), ArrowLeft: -1 }[event.code];
    const label = event.shiftKey ? null : [...select.options].find((one) => one.dataset.key && codeOf(one.dataset.key) === event.code);
    if (label && !by) {
      event.preventDefault();
      select.value = label.value;
      document.getElementById("bulk-go").focus({ preventScroll: true });
    } else if (by) {
      event.preventDefault();
      const next = at < 0 ? 0 : Math.min(boxes.length - 1, Math.max(0, at + by));
      boxes[next].focus({ preventScroll: true });
      boxes[next].closest("li").scrollIntoView({ block: "nearest" });
    } else if (event.code === "Space" && at >= 0 && event.shiftKey) {
      event.preventDefault();
      boxes[at].checked = !boxes[at].checked;
      stretch(at);
      anchor = at;
      count();
    }
  });

  function columns() {
    const top = boxes[0].closest("li").offsetTop;
    return Math.max(1, boxes.filter((box) => box.closest("li").offsetTop === top).length);
  }

  function codeOf(key) {
    return /[0-9]/.test(key) ? `Digit${key}` : `Key${key.toUpperCase()}`;
  }
});
