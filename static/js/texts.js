// The list of texts: with htmx at work the filters act by themselves, so their button steps back.
document.addEventListener("DOMContentLoaded", () => {
  if (window.htmx) for (const button of document.querySelectorAll(".filter-go")) button.hidden = true;
});
// The choice of labels takes the focus when it opens, and Escape closes it.
document.addEventListener("htmx:load", (event) => {
  const select = event.detail.elt.querySelector && event.detail.elt.querySelector("select[autofocus]");
  if (select) select.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const form = event.target.closest && event.target.closest("form.relabel");
  if (form) form.querySelector("button[type=button]")?.click();
});
