// The list of texts: with htmx at work the filters act by themselves, so their button steps back.
document.addEventListener("DOMContentLoaded", () => {
  const filters = document.querySelector("form.filters");
  if (!window.htmx || !filters) return;
  filters.querySelector(".filter-go").hidden = true;
  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
  // Days are the reader's own: an address keeps the zone of whoever made it.
  const zone = filters.elements.zone;
  const day = () => filters.elements.date_from.value || filters.elements.date_to.value;
  // What stands under "more" and narrows must be seen. On a phone the chips say it.
  const more = filters.querySelector(".filter-more");
  const narrowed = [...more.querySelectorAll("select, input")].some((field) => (field.type === "checkbox" ? field.checked : field.name !== "zone" && field.value));
  if (narrowed && matchMedia("(min-width: 801px)").matches) more.open = true;
  // Not every change: a search box that loses the focus must not load the list a second time.
  for (const field of filters.querySelectorAll("select, input:not([type=search], [type=hidden])")) {
    field.addEventListener("change", () => {
      if (!day()) zone.value = "";
      else if (field.type === "date") zone.value = String(-new Date().getTimezoneOffset());
      if (field.checkValidity()) window.htmx.trigger(filters, "narrowed");
    });
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

// Keys. Physical ones: what an input method makes of them does not matter.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target;
  if (event.code === "Escape") {
    const form = target.closest && target.closest("form.relabel");
    if (form) return void form.querySelector("button[type=button]")?.click();
    if (target.id === "q") target.blur();
    return;
  }
  const dialog = document.getElementById("keys-dialog");
  if (!dialog || target.closest("input, textarea, select, summary")) return;
  if (event.code === "Slash") {
    event.preventDefault();
    if (event.shiftKey) return void (dialog.open ? dialog.close() : dialog.showModal());
    const search = document.getElementById("q");
    search.focus();
    return void search.select();
  }
  if (dialog.open || event.shiftKey) return;
  const act = { KeyJ: () => move(1), ArrowDown: () => move(1), KeyK: () => move(-1), ArrowUp: () => move(-1),
    KeyE: () => here()?.querySelector(".relabel-link")?.click(), KeyN: () => page("next"), KeyP: () => page("prev"),
    KeyB: () => document.querySelector('#text-list [data-bulk]')?.click(),
    Enter: target.closest("a, button") ? null : () => here()?.querySelector("[data-open]")?.click() }[event.code];
  if (!act) return;
  event.preventDefault();
  act();

  function here() {
    return document.querySelector("tr[data-row].here");
  }

  function move(by) {
    const rows = [...document.querySelectorAll("tr[data-row]")];
    if (!rows.length) return;
    const at = rows.indexOf(here());
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
    for (const row of rows) {
      row.classList.toggle("here", row === next);
      row.tabIndex = row === next ? 0 : -1;
    }
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  function page(rel) {
    document.querySelector(`#text-list a[rel=${rel}]`)?.click();
  }
});
