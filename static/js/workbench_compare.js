// The comparison offers what stands unsaved in this browser's editor.
(() => {
  const form = document.getElementById("compare-form");
  if (!form) return;
  let fields = {};
  try {
    fields = JSON.parse(localStorage.getItem(`wanxing.workbench.${form.dataset.draft}`))?.fields ?? {};
  } catch {
    return;
  }
  const template = document.getElementById("draft-template");
  const known = [...form.querySelectorAll("[name=template]")].map((box) => box.value);
  if (fields.template?.trim() && !known.includes(fields.template.trim())) {
    template.querySelector("input").value = fields.template.trim();
    template.querySelector("input").checked = true;
    template.querySelector("code").textContent = fields.template.trim();
    template.hidden = false;
  }
  const words = Object.entries(fields).filter(([name]) => /^words-\d+$/.test(name));
  if (!words.length) return;
  document.getElementById("draft-words").hidden = false;
  document.querySelector("#draft-words input").checked = true;
  for (const [name, value] of words) {
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name, value });
    form.append(field);
  }
})();
