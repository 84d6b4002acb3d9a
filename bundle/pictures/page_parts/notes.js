// What a person notes about cases: kept in this browser under the path of the page, saved as CSV.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const WORDS = { right: "right", wrong: "wrong", again: "look again" };

/** An element with attributes and children; text is only ever text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) { element.setAttribute(name, value); }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

const notes = {
  place: "notes of " + location.pathname.replace(/[^/]*$/, ""),
  kept: true,
  all: {},

  read() {
    try {
      const found = JSON.parse(localStorage.getItem(this.place) || "{}");
      this.all = found && typeof found === "object" ? found : {};
    } catch (error) {
      this.kept = error instanceof SyntaxError;
    }
    byId("unkept").hidden = this.kept;
  },

  /** The note of a case, or nothing; `old` where it was given for a result that is not this one. */
  of(one) {
    const found = Object.hasOwn(this.all, one.name) ? this.all[one.name] : null;
    return found && { ...found, old: found.result !== one.id };
  },

  give(one, note, comment) {
    this.read(); // another tab may have written
    if (note || comment) {
      this.all[one.name] = { note, comment, given: new Date().toISOString(), result: one.id };
    } else {
      delete this.all[one.name];
    }
    try {
      localStorage.setItem(this.place, JSON.stringify(this.all));
    } catch (error) {
      this.kept = false;
    }
    byId("unkept").hidden = this.kept;
  },

  csv() {
    const rows = [["case", "source", "note", "comment", "given", "of_this_result", "review", "score"]];
    for (const one of data.cases) {
      const found = this.of(one);
      if (found) {
        const review = one.verdict === 2 ? "no" : "yes";
        rows.push([one.name, one.source, WORDS[found.note] || "", found.comment, found.given, found.old ? "no" : "yes", review, one.score]);
      }
    }
    return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  },

  save() {
    const address = URL.createObjectURL(new Blob(["\ufeff" + this.csv()], { type: "text/csv;charset=utf-8" }));
    make("a", { href: address, download: "notes.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  },
};

/** A cell of a CSV; one that a spreadsheet would take for a formula begins with an apostrophe, as in cases.csv. */
function cell(value) {
  let text = String(value ?? "");
  if (/^ *'*[=+\-@\t\r＝＋－＠]/.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) { text = "'" + text; }
  return /[",\r\n;\t]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
}
