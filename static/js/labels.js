// Rows of the labels page: colours picked from the palette, rows dragged.
(() => {
  const form = document.getElementById("labels-form");
  const rows = document.getElementById("label-rows");
  const orderField = document.getElementById("labels-order");

  const changed = () => form.dispatchEvent(new Event("input"));
  for (const select of form.querySelectorAll(".color-select")) palette(select, changed);
  drag(changed);

  // The select stays what is sent; over it lies a button that shows the colours themselves.
  function palette(select, changed) {
    const place = select.parentElement;
    const open = document.createElement("button");
    open.type = "button";
    open.className = "color-open";
    open.setAttribute("aria-label", place.querySelector("label").textContent);
    open.setAttribute("aria-expanded", "false");
    select.hidden = true;
    place.append(open);
    open.addEventListener("click", () => {
      if (place.querySelector(".color-menu")) return close();
      const menu = document.createElement("div");
      menu.className = "color-menu";
      for (const option of select.options) {
        const choice = document.createElement("button");
        choice.type = "button";
        choice.setAttribute("aria-label", option.textContent);
        choice.setAttribute("aria-pressed", String(option.selected));
        const dot = place.querySelector(".color-now svg").cloneNode(true);
        dot.firstElementChild.setAttribute("fill", option.value);
        choice.append(dot);
        choice.addEventListener("click", () => {
          select.value = option.value;
          place.querySelector(".color-now circle").setAttribute("fill", option.value);
          changed();
          close();
          open.focus();
        });
        menu.append(choice);
      }
      place.append(menu);
      open.setAttribute("aria-expanded", "true");
      menu.querySelector("[aria-pressed=true]")?.focus();
    });
    function close() {
      place.querySelector(".color-menu")?.remove();
      open.setAttribute("aria-expanded", "false");
    }
    document.addEventListener("click", (event) => { if (!place.contains(event.target)) close(); });
    place.addEventListener("keydown", (event) => { if (event.key === "Escape") { close(); open.focus(); } });
  }

  // Dragging is a plus beside the up and down buttons; the order is sent with the form.
  function drag(changed) {
    let held = null;
    for (const grip of rows.querySelectorAll(".grip")) {
      grip.hidden = false;
      grip.addEventListener("dragstart", (event) => {
        held = grip.closest(".label-row");
        held.classList.add("dragging");
        event.dataTransfer.effectAllowed = "move";
        event.dataTransfer.setDragImage(held, 20, 20);
      });
      grip.addEventListener("dragend", () => {
        held.classList.remove("dragging");
        held = null;
        orderField.disabled = false;
        orderField.value = [...rows.children].map((row) => row.dataset.label).join(",");
        changed();
      });
    }
    rows.addEventListener("dragover", (event) => {
      const row = event.target.closest(".label-row");
      if (!held || !row) return;
      event.preventDefault();
      const box = row.getBoundingClientRect();
      row[event.clientY > box.top + box.height / 2 ? "after" : "before"](held);
    });
  }
})();
