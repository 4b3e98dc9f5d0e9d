// Importing: files and folders dropped anywhere on the zone, checked for size before they travel, with progress.
(() => {
  const RECIPE = new Set(["train.txt", "dev.txt", "test.txt", "data.txt", "label.txt"]);
  const form = document.getElementById("import-form");
  if (form) upload(form);
  const preview = document.getElementById("preview-form");
  if (preview) {
    // A changed choice is read at once; the button remains for those without this script.
    for (const select of preview.querySelectorAll("[data-reread]")) {
      select.addEventListener("change", () => preview.querySelector(".reread").click());
    }
    preview.querySelector(".reread").hidden = true;
  }

  function upload(form) {
    const zone = document.getElementById("dropzone");
    const input = document.getElementById("files");
    const chosen = document.getElementById("chosen");
    const bar = document.getElementById("upload-progress");
    const button = document.getElementById("import-go");
    const complaint = document.getElementById("import-error");
    const words = form.dataset;

    function complain(text) {
      complaint.hidden = !text;
      complaint.querySelector("p").textContent = text;
      return Boolean(text);
    }

    function check(files) {
      const size = files.reduce((sum, file) => sum + file.size, 0);
      if (size > Number(words.maxBytes)) return complain(words.tooLarge);
      if (files.length && size === 0) return complain(words.empty);
      return complain("");
    }

    input.addEventListener("change", () => {
      const files = [...input.files];
      chosen.textContent = files.length > 1 ? files.map((file) => file.name).join(", ") : "";
      if (!check(files) && files.length) send(files);
    });

    let depth = 0;
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("dragenter", () => { depth += 1; zone.classList.add("over"); });
    document.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) zone.classList.remove("over"); });
    document.addEventListener("drop", async (event) => {
      event.preventDefault();
      depth = 0;
      zone.classList.remove("over");
      const files = await dropped(event.dataTransfer);
      if (!files.length) return;
      chosen.textContent = files.map((file) => file.name).join(", ");
      if (!check(files)) send(files);
    });

    form.addEventListener("submit", (event) => {
      const files = [...input.files];
      event.preventDefault();
      if (!check(files) && files.length) send(files);
    });

    function send(files) {
      const body = new FormData();
      body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
      for (const file of files) body.append("files", file, file.name);
      const request = new XMLHttpRequest();
      button.disabled = input.disabled = true;
      bar.hidden = false;
      bar.removeAttribute("value");
      request.upload.addEventListener("progress", (event) => {
        if (!event.lengthComputable) return;
        bar.value = (100 * event.loaded) / event.total;
        chosen.textContent = event.loaded < event.total ? words.sending.replace("{n}", Math.floor(bar.value)) : words.reading;
      });
      request.addEventListener("load", () => {
        const answer = new DOMParser().parseFromString(request.responseText, "text/html");
        const refused = answer.querySelector("#import-error:not([hidden]) p");
        if (request.status < 400) location.assign(request.responseURL);
        else again(refused ? refused.textContent : words.failed);
      });
      request.addEventListener("error", () => again(words.failed));
      request.open("POST", form.action);
      request.send(body);
    }

    function again(text) {
      complain(text);
      button.disabled = input.disabled = false;
      bar.hidden = true;
      chosen.textContent = "";
      input.value = "";
    }
  }

  // Files of a drop; of a folder only what a recipe may hold, the shallowest of each name.
  async function dropped(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
    if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
    const found = new Map();
    let level = entries;
    for (let depth = 0; depth < 3 && level.length; depth += 1) {
      const next = [];
      for (const entry of level) {
        if (entry.isDirectory) next.push(...(await children(entry)));
        else if (RECIPE.has(entry.name.toLowerCase()) && !found.has(entry.name.toLowerCase())) {
          found.set(entry.name.toLowerCase(), await new Promise((done, fail) => entry.file(done, fail)));
        }
      }
      level = next;
    }
    return [...found.values()];
  }

  function children(directory) {
    return new Promise((done, fail) => {
      const all = [];
      const reader = directory.createReader();
      const more = () => reader.readEntries((some) => (some.length ? (all.push(...some), more()) : done(all)), fail);
      more();
    });
  }
})();
