// The page works without this file; it adds dropping, a preview of the choice, and a question before "Delete all".
"use strict";

const drop = document.querySelector(".drop");
if (drop) {
  const input = drop.querySelector("input");
  const text = drop.querySelector(".drop-text");
  const hint = drop.querySelector(".drop-hint");
  const errors = drop.closest("form").querySelector(".errors");
  const button = drop.closest("form").querySelector("button");

  const show = () => {
    const [file] = input.files;
    if (!file) return;
    const tooLarge = file.size > Number(drop.dataset.maxSize);
    text.textContent = file.name;
    hint.textContent = `${Math.max(1, Math.round(file.size / 1024)).toLocaleString("en")} KB`;
    errors.replaceChildren();
    if (tooLarge) {
      const line = document.createElement("p");
      line.textContent = drop.dataset.tooLarge;
      errors.append(line);
    }
    // Better said before megabytes are on their way; the server checks it again.
    button.disabled = tooLarge;
    drop.classList.toggle("chosen", !tooLarge);
  };

  input.addEventListener("change", show);
  for (const event of ["dragenter", "dragover"]) {
    drop.addEventListener(event, (e) => { e.preventDefault(); drop.classList.add("over"); });
  }
  for (const event of ["dragleave", "drop"]) {
    drop.addEventListener(event, (e) => { e.preventDefault(); drop.classList.remove("over"); });
  }
  drop.addEventListener("drop", (e) => {
    if (e.dataTransfer.files.length) { input.files = e.dataTransfer.files; show(); }
  });
}

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (e) => { if (!confirm(form.dataset.confirm)) e.preventDefault(); });
}
