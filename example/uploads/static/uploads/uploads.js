// The page works without this file; it says of each upload, as it begins, what is enforced.

const words = JSON.parse(document.getElementById("words").textContent);
const list = document.getElementById("begun");
const bytes = new Intl.NumberFormat("en", { style: "unit", unit: "megabyte", maximumFractionDigits: 1 });

const told = (table, enforced) =>
  Object.entries(table).map(([promise, said]) => said[enforced[promise]]).filter(Boolean).join(", ");

document.addEventListener("storages-upload-begin", ({ detail }) => {
  const { name, kind, parts, enforced } = detail;
  const line = document.createElement("li");
  const code = document.createElement("code");
  code.textContent = kind;
  line.dataset.kind = kind;
  const pieces = parts ? ` in ${parts.count} × ${bytes.format(parts.size / 2 ** 20)}` : "";
  line.append(`${name} goes by `, code, `${pieces}. `);
  if (enforced) {
    line.append(`${words.who[kind]} refuses ${told(words.refused, enforced)}. `);
    line.append(`This site looks at ${[told(words.later, enforced), words.always].filter(Boolean).join(", ")}. `);
    line.append(told(words.copied, enforced));
  }
  line.dataset.name = name;
  list.append(line);
});

// A line for a file that was cancelled or removed tells of nothing.
document.addEventListener("change", ({ target }) => {
  if (target.localName !== "storages-upload") return;
  const names = [...target.querySelectorAll(".storages-upload-name")].map((element) => element.textContent);
  for (const line of [...list.children]) if (!names.includes(line.dataset.name)) line.remove();
});
