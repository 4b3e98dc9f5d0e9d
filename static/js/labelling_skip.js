// Why a text is skipped: a reason by its digit, in words of one's own, or none at all.

window.wanxing = Object.assign(window.wanxing || {}, {
  skipPanel({ onSkip }) {
    const panel = document.getElementById("skip-panel");
    const button = document.getElementById("skip-button");
    const input = document.getElementById("skip-words");
    const reasons = [...panel.querySelectorAll("[data-reason]:not([data-reason=''])")];
    const isOpen = () => !panel.hidden;

    function ask() {
      if (isOpen()) return onSkip("");
      panel.hidden = false;
      panel.parentElement.classList.add("skipping");
      button.setAttribute("aria-expanded", "true");
    }

    function close() {
      panel.hidden = true;
      panel.parentElement.classList.remove("skipping");
      input.value = "";
      button.setAttribute("aria-expanded", "false");
    }

    // While a reason is asked for, digits are reasons. Returns whether the key was one of this panel's.
    function key(code, digit, repeat) {
      const number = /^Digit([0-9])$/.exec(digit);
      const chosen = number && reasons[Number(number[1]) - 1];
      if (code === "Escape" || code === "Backspace") close();
      else if (digit === "Digit0") input.focus();
      else if (chosen && !repeat) onSkip(chosen.dataset.reason);
      else if (code === "Space" && !repeat) onSkip("");
      return !["Tab", "F5"].includes(code);
    }

    panel.addEventListener("click", (event) => {
      const chosen = event.target.closest("[data-reason]");
      if (chosen && event.detail < 2) onSkip(chosen.dataset.reason);
    });
    input.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.code === "Enter" || event.code === "NumpadEnter") {
        event.preventDefault();
        const reason = input.value.trim();
        input.blur();
        onSkip(reason);
      } else if (event.code === "Escape") {
        input.blur();
        close();
      }
    });
    return { isOpen, ask, close, key };
  },
});
