"use strict";
// Tables that sort and filter.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column], bar = cell.querySelector(".bar");
    return bar ? getComputedStyle(bar).getPropertyValue("--value").trim() : cell.textContent.trim();
  };
  const number = text => (text === "" || text === "-" ? -Infinity : Number(text));
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const upwards = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
    const rows = [...body.rows].map(row => [value(row, column), row]);
    const numeric = rows.every(([text]) => !Number.isNaN(number(text)));
    const order = ([one], [other]) => numeric
      ? (number(one) === number(other) ? 0 : number(one) - number(other))
      : one.localeCompare(other, undefined, {numeric: true});
    rows.sort((one, other) => upwards ? order(one, other) : order(other, one));
    body.append(...rows.map(([, row]) => row));
  }));
}
for (const input of document.querySelectorAll("input[type=search]")) {
  const rows = () => input.closest("label").nextElementSibling.querySelectorAll("tbody tr, li");
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of rows()) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

// Texts at the parts of pictures.
const tip = document.getElementById("tip");
function showTip(text, x, y) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const box = tip.getBoundingClientRect(), left = x + 14 + box.width > innerWidth ? x - 14 - box.width : x + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - box.height - 4))}px`;
}
const cellTexts = new WeakMap();
function cellText(place, event) {
  if (!cellTexts.has(place)) {
    const content = JSON.parse(place.dataset.cells), counts = new Map();
    for (const [row, column, count] of content.cells) counts.set(row * content.columns.length + column, count);
    cellTexts.set(place, {...content, counts});
  }
  const {rows, columns, totals, counts} = cellTexts.get(place), box = place.getBoundingClientRect();
  const row = Math.min(rows.length - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * rows.length)));
  const column = Math.min(columns.length - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * columns.length)));
  const count = counts.get(row * columns.length + column) || 0;
  return `true: ${rows[row]}\nanswered: ${columns[column]}\n${count} of ${totals[row]} (${(100 * count / totals[row]).toFixed(1)} %)`;
}
function tipAt(event) {
  if (event.target.closest(".points")) return; // the map shows its own
  const place = event.target.closest("[data-tip], [data-cells]");
  showTip(place && (place.dataset.cells ? cellText(place, event) : place.dataset.tip), event.clientX, event.clientY);
}
document.addEventListener("pointermove", tipAt);
document.addEventListener("pointerdown", tipAt);
document.addEventListener("scroll", () => showTip(), true);

// Pictures that zoom: as wide as the place at first, then wider, with bars to scroll.
for (const button of document.querySelectorAll("[data-zoom]")) {
  const place = button.closest(".buttons").nextElementSibling;
  button.addEventListener("click", () => {
    const before = Number(place.style.getPropertyValue("--zoom")), factor = Number(button.dataset.zoom);
    const zoom = factor ? Math.min(12, Math.max(1, before * factor)) : 1;
    const [x, y] = [place.scrollLeft + place.clientWidth / 2, place.scrollTop + place.clientHeight / 2];
    place.style.setProperty("--zoom", zoom);
    place.style.maxHeight = zoom > 1 ? "90vh" : "";
    place.scrollTo(x * zoom / before - place.clientWidth / 2, y * zoom / before - place.clientHeight / 2);
  });
}

// Recordings that are not there.
document.addEventListener("error", event => {
  if (event.target instanceof HTMLAudioElement) event.target.replaceWith("the file is missing, or the browser cannot play it");
}, true);
