// The list of texts: with htmx at work the filters act by themselves, so their button steps back.
document.addEventListener("DOMContentLoaded", () => {
  const filters = document.querySelector("form.filters");
  if (!window.htmx || !filters) return;
  filters.querySelector(".filter-go").hidden = true;
  // Not every change: a search box that loses the focus must not load the list a second time.
  for (const field of filters.querySelectorAll("select, input[type=checkbox]")) {
    field.addEventListener("change", () => window.htmx.trigger(filters, "narrowed"));
  }
  filters.addEventListener("htmx:configRequest", (event) => {
    for (const name of Object.keys(event.detail.parameters)) {
      if (!event.detail.parameters[name]) delete event.detail.parameters[name];
    }
  });
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
