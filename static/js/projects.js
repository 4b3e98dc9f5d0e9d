// A file may be dropped on the box as a whole, not only on the small button inside it.
for (const zone of document.querySelectorAll("[data-dropzone]")) {
  const input = zone.querySelector("input[type=file]");
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    zone.addEventListener(name, () => zone.classList.remove("over"));
  }
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) {
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }
  });
  // The name of the first file is a good name for the project until a better one is typed.
  input.addEventListener("change", () => {
    const name = zone.closest("form").querySelector("input[name=name]");
    if (input.files.length && !name.value) name.value = input.files[0].name.replace(/\.[^.]+$/, "").slice(0, 120);
  });
}
