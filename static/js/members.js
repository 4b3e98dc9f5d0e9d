// The invitation link is shown once: one click copies it, and says whether that worked.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.querySelector(button.dataset.copy);
  field.select();
  let copied = false;
  try {
    await navigator.clipboard.writeText(field.value);
    copied = true;
  } catch {
    // Without https the clipboard is closed to scripts; the old command still works there.
    copied = document.execCommand("copy");
  }
  window.wanxing.toast(copied ? button.dataset.done : button.dataset.failed);
});
