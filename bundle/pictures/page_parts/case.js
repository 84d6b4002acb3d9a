// One case at large: its slices to run through, the three planes, figures, and the note.
const dialog = byId("case"), strip = document.querySelector("#slices img"), planes = document.querySelector("#planes img");
const now = { case: null, slice: 0, slices: 0 };

function open(one) {
  show(one);
  if (!dialog.open) { dialog.showModal(); }
  (one.slices ? byId("slices") : byId("after")).focus();
}

function show(one) {
  now.case = one;
  byId("name").textContent = one.name;
  const place = view.shown.indexOf(one);
  byId("place").textContent = place < 0 ? "" : `${place + 1} of ${view.shown.length}`;
  byId("before").disabled = place <= 0;
  byId("after").disabled = place < 0 || place === view.shown.length - 1;
  now.slices = 0;
  byId("slices").hidden = !one.slices;
  byId("slide").hidden = true;
  byId("planes").hidden = !one.preview;
  byId("nopicture").hidden = one.slices || one.preview;
  strip.removeAttribute("src");
  if (one.slices) { strip.src = file(one, data.endings.slices); }
  planes.removeAttribute("src");
  if (one.preview) {
    planes.src = file(one, data.endings.preview);
    planes.alt = `${one.name}: axial, coronal and sagittal plane`;
    byId("planes").href = planes.getAttribute("src");
  }
  facts(one);
  showNote();
  const next = view.shown[place + 1];
  if (place >= 0 && next && next.slices) { new Image().src = file(next, data.endings.slices); } // so that it is there at once
}

// the strip has one tile for each slice, below each other
strip.addEventListener("load", () => {
  now.slices = Math.max(1, Math.round((strip.naturalHeight / strip.naturalWidth) * (data.tile[0] / data.tile[1])));
  byId("slice").max = now.slices;
  byId("slide").hidden = false;
  turn(Math.floor(now.slices / 2));
});
strip.addEventListener("error", () => {
  byId("slices").hidden = true;
  byId("nopicture").hidden = now.case.preview;
});

function turn(slice) {
  if (!now.slices) { return; }
  now.slice = Math.min(now.slices - 1, Math.max(0, slice));
  strip.style.transform = `translateY(${(-100 * now.slice) / now.slices}%)`;
  byId("slice").value = now.slice + 1;
  const words = `${now.slice + 1} of ${now.slices}, from the head`;
  byId("number").textContent = words;
  byId("slice").setAttribute("aria-valuetext", words);
  byId("slices").setAttribute("aria-label", `Axial slice ${words}, with the contours of the labels`);
}

function step(by) {
  const place = view.shown.indexOf(now.case) + by;
  if (place >= 0 && place < view.shown.length) { show(view.shown[place]); }
}

function facts(one) {
  const parts = [make("div", { class: VERDICTS[one.verdict][0] }, make("b", {}, VERDICTS[one.verdict][1]), one.verdict ? `, score ${fixed(one.score, 2)}` : "", reasonList(one))];
  const head = ["Structure", "ml", "HU", "Pieces", "Confidence", "Expected Dice", ...(flipped(one) ? ["Flips differ"] : [])];
  const rows = names.map((name, index) => one.measured[index] && figures(name, index, one.measured[index], flipped(one))).filter(Boolean);
  if (rows.length) {
    const titles = head.map((word, place) => make("th", { scope: "col", class: place ? "number" : "" }, word));
    parts.push(make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...rows)));
  }
  const links = data.endings.links.filter((_, place) => one.files.includes(place));
  parts.push(make("p", {}, ...links.map(([word, ending]) => make("a", { href: file(one, ending) }, word))));
  const scan = [one.source, one.voxels && `${one.voxels} voxels`, one.spacing && `${one.spacing} mm`, one.seconds && `${one.seconds} s`];
  parts.push(make("p", { class: "quiet" }, scan.filter(Boolean).join(", ")));
  byId("facts").replaceChildren(...parts);
}

const flipped = (one) => one.measured.some((found) => found && found[FLIP] !== null);

function figures(name, index, found, flips) {
  const swatch = make("span", { class: "swatch" });
  swatch.style.background = data.structures[index].colour;
  const hu = found[HU] === null ? "" : `${fixed(found[HU], 0)} ± ${fixed(found[SD], 0)}`;
  const pieces = make("td", { class: "number" }, fixed(found[PIECES], 0));
  if (found[BORDER]) { pieces.append(make("small", {}, "at the border")); }
  if (found[LEFT_OUT]) { pieces.append(make("small", {}, `${amount(found[LEFT_OUT])} ml left out`)); }
  const cells = [amount(found[VOLUME]), hu, pieces, fixed(found[CONFIDENCE], 3), fixed(found[DICE], 3), ...(flips ? [fixed(found[FLIP], 3)] : [])];
  const row = cells.map((one) => (one === pieces ? one : make("td", { class: "number" }, one)));
  return make("tr", {}, make("th", { scope: "row" }, swatch, name), ...row);
}

function showNote() {
  const found = notes.of(now.case);
  document.querySelectorAll("[data-note]").forEach((button) => {
    button.setAttribute("aria-pressed", String(Boolean(found && !found.old && found.note === button.dataset.note)));
  });
  byId("comment").value = found ? found.comment : "";
  byId("earlier").textContent = found && found.old ? `${WORDS[found.note] || "a comment"}: given for an earlier result` : "";
}

function note(word) {
  const found = notes.of(now.case), before = found && !found.old ? found.note : "";
  write(before === word ? "" : word);
  showNote();
}

function write(word) {
  notes.give(now.case, word, byId("comment").value.trim());
  if (now.case.row) { now.case.row.querySelector(".note").replaceWith(mark(now.case)); }
  count();
}

document.querySelectorAll("[data-note]").forEach((button) => button.addEventListener("click", () => note(button.dataset.note)));
byId("comment").addEventListener("input", () => {
  const found = notes.of(now.case);
  write(found && !found.old ? found.note : "");
});
byId("before").addEventListener("click", () => step(-1));
byId("after").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => dialog.close());
byId("slice").addEventListener("input", () => turn(Number(byId("slice").value) - 1));
dialog.addEventListener("click", (event) => { if (event.target === dialog) { dialog.close(); } });
dialog.addEventListener("close", () => {
  // notes may have changed which cases are shown, and this one may be further down than the rows that are there
  filter(Math.max(view.filled, view.shown.indexOf(now.case) + PART));
  if (view.shown.includes(now.case)) { now.case.row.querySelector("button.name").focus(); }
});

let wheel = 0;
byId("slices").addEventListener("wheel", (event) => {
  event.preventDefault();
  wheel += event.deltaMode ? event.deltaY * 40 : event.deltaY;
  if (Math.abs(wheel) >= 40) { turn(now.slice + Math.sign(wheel)); wheel = 0; }
}, { passive: false });
byId("slices").addEventListener("pointermove", (event) => {
  if (event.buttons & 1) {
    const box = byId("slices").getBoundingClientRect();
    turn(Math.floor(((event.clientY - box.top) / box.height) * now.slices));
  }
});

dialog.addEventListener("keydown", (event) => {
  const target = event.target, typing = target.id === "comment", sliding = target.id === "slice";
  if (typing || event.ctrlKey || event.metaKey || event.altKey) { return; }
  const does = {
    ArrowUp: () => turn(now.slice - 1), ArrowDown: () => turn(now.slice + 1), PageUp: () => turn(now.slice - 5), PageDown: () => turn(now.slice + 5),
    ArrowLeft: sliding ? null : () => step(-1), ArrowRight: sliding ? null : () => step(1),
    1: () => note("right"), 2: () => note("wrong"), 3: () => note("again"),
  }[event.key];
  if (does) { event.preventDefault(); does(); }
});

start();
