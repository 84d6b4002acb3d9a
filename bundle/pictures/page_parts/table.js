// The table of cases: columns, order, and which are shown.
const VERDICTS = [["failed", "Failed"], ["review", "Review"], ["good", "No finding"]];
const body = document.querySelector("#cases tbody"), heads = document.querySelector("#cases thead");
const names = data.structures.map((structure) => structure.name);
const PART = 60; // rows that are made at once
const view = { structure: -1, columns: [], column: null, way: 1, shown: [], filled: 0 };
// measurements of a structure in a case, by their place in its list
const VOLUME = 0, HU = 1, SD = 2, PIECES = 3, BORDER = 4, LEFT_OUT = 5, CONFIDENCE = 6, DICE = 7, FLIP = 8;

const fixed = (value, digits) => (value === null || value === undefined ? "" : value.toFixed(digits));
const amount = (value) => (value === null || value === undefined ? "" : fixed(value, value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2));
const measure = (one, structure, which) => (one.measured[structure] ? one.measured[structure][which] : null);
const file = (one, ending) => encodeURIComponent(one.name + ending);

/** The expected Dice of a structure; of all (-1) the lowest. */
function dice(one, structure) {
  if (structure >= 0) { return measure(one, structure, DICE); }
  const known = one.measured.map((found) => found && found[DICE]).filter((value) => value !== null && value !== undefined);
  return known.length ? Math.min(...known) : null;
}

/** Columns of the table: head, what to sort by, and the cell. */
function columns() {
  const number = (head, value, digits) => ({ head, value, cell: (one) => make("td", { class: "number" }, fixed(value(one), digits)) });
  const structure = view.structure;
  const volumes = names.map((name, index) => ({
    head: `${name} (ml)`, value: (one) => measure(one, index, VOLUME), cell: (one) => volumeCell(one, index),
  }));
  const details = [
    { head: "Volume (ml)", value: (one) => measure(one, structure, VOLUME), cell: (one) => volumeCell(one, structure) },
    number("Mean HU", (one) => measure(one, structure, HU), 0),
    number("Pieces", (one) => measure(one, structure, PIECES), 0),
    number("Confidence", (one) => measure(one, structure, CONFIDENCE), 3),
  ];
  return [
    { head: "Preview", cell: pictureCell },
    { head: "Case", value: (one) => one.name, cell: nameCell },
    { head: "Verdict", value: (one) => `${one.verdict} ${one.error || one.reasons.join("; ")}`, cell: verdictCell },
    number("Score", (one) => one.score, 2),
    number(structure < 0 ? "Lowest expected Dice" : "Expected Dice", (one) => dice(one, structure), 3),
    ...(structure < 0 ? volumes : details),
  ];
}

function pictureCell(one) {
  if (!one.preview) { return make("td", { class: "picture" }); }
  const picture = make("img", { loading: "lazy", decoding: "async", width: 310, height: 150, alt: "", src: file(one, data.endings.preview) });
  return make("td", { class: "picture" }, picture);
}

function nameCell(one) {
  const button = make("button", { type: "button", class: "name" }, one.name);
  return make("th", { scope: "row" }, button, mark(one), make("small", {}, one.source));
}

/** What was noted, as a small sign. */
function mark(one) {
  const found = notes.of(one);
  const word = found && (WORDS[found.note] || "comment");
  return make("span", { class: "note" }, found ? make("span", { class: `mark ${found.note}` }, found.old ? `${word}, earlier result` : word) : "");
}

function verdictCell(one) {
  return make("td", { class: "verdict" }, make("b", {}, VERDICTS[one.verdict][1]), reasonList(one));
}

function reasonList(one) {
  const reasons = one.error ? [one.error] : one.reasons;
  return reasons.length ? make("ul", {}, ...reasons.map((reason) => make("li", {}, reason))) : "";
}

function volumeCell(one, index) {
  const cell = make("td", { class: "number" }, amount(measure(one, index, VOLUME)));
  const hu = measure(one, index, HU), pieces = measure(one, index, PIECES);
  if (hu !== null) { cell.append(make("small", {}, `${fixed(hu, 0)} ± ${fixed(measure(one, index, SD), 0)} HU`)); }
  if (pieces > 1) { cell.append(make("small", {}, `${pieces} pieces`)); }
  if (measure(one, index, BORDER)) { cell.append(make("small", {}, "at the border")); }
  return cell;
}

/** Make the head anew, for the structure that is chosen; rows are made as they come into view. */
function build() {
  view.columns = columns();
  view.column = null;
  heads.replaceChildren(make("tr", {}, ...view.columns.map((column, index) => {
    if (!column.value) { return make("th", { scope: "col" }, make("span", {}, column.head)); }
    const button = make("button", { type: "button" }, column.head);
    button.addEventListener("click", () => sortBy(index));
    return make("th", { scope: "col" }, button);
  })));
  filter();
}

/** The row of a case; kept as long as the columns are the same. */
function rowOf(one) {
  if (one.columns !== view.columns) {
    one.row = make("tr", { class: VERDICTS[one.verdict][0] }, ...view.columns.map((column) => column.cell(one)));
    one.row.case = one;
    one.columns = view.columns;
  }
  return one.row;
}

/** Put further rows below those that are there. */
function fill(number = PART) {
  const more = view.shown.slice(view.filled, view.filled + number);
  body.append(...more.map(rowOf));
  view.filled += more.length;
  byId("more").hidden = view.filled === view.shown.length;
  // looks again whether the end is still in view
  nearEnd.unobserve(byId("more"));
  nearEnd.observe(byId("more"));
}

const nearEnd = new IntersectionObserver((found) => {
  if (found.some((one) => one.isIntersecting)) { fill(); }
}, { rootMargin: "1500px" });

/** Sort by a column; once more turns it round. What is not known comes last. */
function sortBy(index) {
  view.way = view.column === index ? -view.way : 1;
  view.column = index;
  Array.from(heads.rows[0].cells).forEach((head, place) => {
    if (place === index) { head.setAttribute("aria-sort", view.way === 1 ? "ascending" : "descending"); } else { head.removeAttribute("aria-sort"); }
  });
  filter();
}

function ordered() {
  if (view.column === null) { return data.cases; }
  const value = view.columns[view.column].value, unknown = (x) => x === null || x === undefined;
  return [...data.cases].sort((a, b) => {
    const x = value(a), y = value(b);
    if (unknown(x) || unknown(y)) { return unknown(x) - unknown(y); }
    return view.way * (typeof x === "number" ? x - y : x.localeCompare(y, undefined, { numeric: true }));
  });
}

/** Which cases the form asks for. */
function wanted() {
  const text = byId("find").value.trim().toLowerCase(), verdict = byId("verdict").value, noted = byId("noted").value;
  const [reason, least, most, lowest] = ["reason", "least", "most", "dice"].map((id) => (byId(id).value === "" ? null : Number(byId(id).value)));
  const chosen = view.structure;
  const volumes = (one) => (chosen < 0 ? one.measured.map((found) => found && found[VOLUME]) : [measure(one, chosen, VOLUME)]);
  const inside = (value) => value !== null && value !== undefined && (least === null || value >= least) && (most === null || value <= most);
  // a reason about the scan itself names no structure
  const of = (text, name) => Boolean(text) && text.startsWith(`${name}: `);
  const about = (one, place) => one.kinds[place] === reason
    && (chosen < 0 || of(one.reasons[place], names[chosen]) || !names.some((name) => of(one.reasons[place], name)));
  return (one) => {
    const note = notes.of(one);
    return (!text || one.text.includes(text))
      && (!verdict || (verdict === "check" ? one.verdict < 2 : one.verdict === Number(verdict)))
      && (reason === null || one.kinds.some((_, place) => about(one, place)))
      && ((least === null && most === null) || volumes(one).some(inside))
      && (lowest === null || (dice(one, chosen) !== null && dice(one, chosen) <= lowest))
      && (!noted || (noted === "none" ? !note || note.old : note && !note.old && note.note === noted));
  };
}

/** Show the cases that are asked for, in order, the first so many at once. */
function filter(number = PART) {
  view.shown = ordered().filter(wanted());
  view.filled = 0;
  body.replaceChildren();
  fill(number);
  count();
}

function count() {
  const noted = data.cases.filter((one) => notes.of(one)).length;
  byId("shown").textContent = `${view.shown.length} of ${data.cases.length} shown, ${noted} with a note`;
  byId("export").disabled = !noted;
}

/** Fill the choices, and do what the form and the table ask for. */
function start() {
  notes.read();
  data.cases.forEach((one) => { one.text = [one.name, one.source, one.error, ...one.reasons].join("\n").toLowerCase(); });
  names.forEach((name, index) => byId("structure").append(make("option", { value: index }, name)));
  data.kinds.forEach((kind, index) => {
    const cases = data.cases.filter((one) => one.kinds.includes(index)).length;
    byId("reason").append(make("option", { value: index }, `${kind} (${cases})`));
  });
  const form = document.querySelector("form");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => { if (event.target.id !== "structure") { filter(); } });
  byId("structure").addEventListener("change", () => {
    view.structure = byId("structure").value === "" ? -1 : Number(byId("structure").value);
    build();
  });
  form.addEventListener("reset", () => setTimeout(() => { view.structure = -1; build(); }));
  byId("export").addEventListener("click", () => notes.save());
  byId("more").addEventListener("click", () => fill());
  window.addEventListener("beforeprint", () => fill(Infinity));
  body.addEventListener("click", (event) => {
    if (event.target.closest("button.name, td.picture img")) { open(event.target.closest("tr").case); }
  });
  window.addEventListener("storage", () => { notes.read(); build(); });
  made();
  build();
}

/** What made the results, as run.json has it. */
function made() {
  data.made.forEach(({ cases, settings }) => {
    const list = make("dl", {}, ...settings.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
    const title = data.made.length > 1 ? `What made ${cases} of the cases` : "What made the results";
    byId("made").append(make("details", {}, make("summary", {}, title), list));
  });
}
