"""The page that `bundle.pictures.page` fills in: structure, style and behaviour, with nothing loaded from elsewhere."""

from string import Template

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --back: #ffffff; --text: #1b1f24; --quiet: #59636e; --line: #d5dae0; --head: #f3f5f7;
  --bad: #a3141f; --warn: #8a5200; --warnback: #fff6e0; --badback: #ffecec; --link: #0a58ca; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --text: #e8eaed; --quiet: #a3abb5; --line: #343a42; --head: #1e2329;
  --bad: #ff9b9b; --warn: #ffc766; --warnback: #2b2312; --badback: #311a1c; --link: #8ab8ff; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.25rem; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
h1 { margin: 0 0 .2rem; font-size: 1.5rem; overflow-wrap: anywhere; }
.summary { margin: 0 0 1rem; font-size: 1.05rem; }
form { display: flex; flex-wrap: wrap; gap: .6rem 1.4rem; align-items: center; margin-bottom: 1rem; }
input[type=search] { font: inherit; padding: .35rem .6rem; width: 18rem; max-width: 100%; color: inherit; background: var(--back);
  border: 1px solid var(--quiet);
  border-radius: 6px; }
.frame { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .55rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { background: var(--head); white-space: nowrap; padding: 0; }
thead th > span { display: block; padding: .55rem .7rem; }
thead button { all: unset; display: block; width: 100%; box-sizing: border-box; padding: .55rem .7rem; cursor: pointer; font-weight: 600; }
thead button:focus-visible, a:focus-visible, input:focus-visible { outline: 3px solid var(--link); outline-offset: -2px; }
thead th[aria-sort=ascending] button::after { content: " \\25B2"; }
thead th[aria-sort=descending] button::after { content: " \\25BC"; }
tbody th { min-width: 9rem; max-width: 18rem; overflow-wrap: anywhere; }
small { display: block; font-weight: 400; font-size: .8rem; color: var(--quiet); }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.picture { width: 400px; min-width: 400px; padding: .4rem; }
td.picture img { display: block; width: 100%; height: auto; border-radius: 4px; }
td.verdict { min-width: 15rem; }
td.verdict ul { margin: .25rem 0 0; padding-left: 1.1rem; overflow-wrap: anywhere; }
tr.review td.verdict { background: var(--warnback); } tr.review td.verdict b { color: var(--warn); }
tr.failed td.verdict { background: var(--badback); } tr.failed td.verdict b { color: var(--bad); }
tr[hidden] { display: none; }
dialog { width: min(96vw, 1240px); max-width: none; padding: .6rem; border: 1px solid var(--line); border-radius: 8px;
  background: #101216; color: #e8eaed; }
dialog::backdrop { background: rgb(0 0 0 / .75); }
dialog img { display: block; width: 100%; height: auto; max-height: 82vh; object-fit: contain; }
dialog p { display: flex; justify-content: space-between; gap: 1rem; margin: .5rem .2rem 0; }
dialog a { color: #8ab8ff; } dialog button { font: inherit; padding: .3rem .9rem; }
a { color: var(--link); }
footer { margin-top: 1rem; color: var(--quiet); font-size: .85rem; }
@media print { form, dialog { display: none; } tr { break-inside: avoid; } .frame { overflow: visible; } }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="summary">$summary</p>
<form role="search">
<label>Find <input type="search" id="find" placeholder="case, reason, path"></label>
<label><input type="checkbox" id="flagged"> only cases to review and failed ones</label>
<span id="shown" role="status"></span>
</form>
<div class="frame" tabindex="0" role="region" aria-label="Table of cases">
<table>
<thead><tr><th scope="col"><span>Preview</span></th>$heads</tr></thead>
<tbody>
$rows
</tbody>
</table>
</div>
<footer>$footer</footer>
</main>
<dialog aria-label="Preview"><img alt=""><p><a href="#">full size</a><button type="button" autofocus>close</button></p></dialog>
<script>
"use strict";
(function () {
  var body = document.querySelector("tbody"), rows = Array.from(body.rows), heads = Array.from(document.querySelectorAll("thead th"));
  var find = document.getElementById("find"), flagged = document.getElementById("flagged"), shown = document.getElementById("shown");
  function value(row, column) { return row.cells[column].dataset.value || ""; }
  function compare(a, b) {
    var x = parseFloat(a), y = parseFloat(b);
    var numbers = !isNaN(x) && !isNaN(y) && isFinite(a) && isFinite(b);
    return numbers ? x - y : a.localeCompare(b, undefined, { numeric: true });
  }
  heads.forEach(function (head, column) {
    var button = head.querySelector("button");
    if (!button) { return; }
    button.addEventListener("click", function () {
      var way = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
      rows.sort(function (a, b) {
        var x = value(a, column), y = value(b, column);
        if (!x || !y) { return (x ? 0 : 1) - (y ? 0 : 1); }
        return way * compare(x, y);
      });
      rows.forEach(function (row) { body.appendChild(row); });
    });
  });
  function filter() {
    var words = find.value.trim().toLowerCase(), count = 0;
    rows.forEach(function (row) {
      row.hidden = (flagged.checked && row.className === "good") || (words && row.textContent.toLowerCase().indexOf(words) < 0);
      count += row.hidden ? 0 : 1;
    });
    shown.textContent = count === rows.length ? "" : count + " of " + rows.length + " shown";
  }
  find.addEventListener("input", filter);
  flagged.addEventListener("change", filter);
  document.querySelector("form").addEventListener("submit", function (event) { event.preventDefault(); });
  var dialog = document.querySelector("dialog");
  body.addEventListener("click", function (event) {
    var link = event.target.closest("td.picture a");
    if (!link || !dialog.showModal || event.ctrlKey || event.metaKey || event.shiftKey) { return; }
    event.preventDefault();
    var small = link.querySelector("img"), large = dialog.querySelector("img");
    large.src = small.src; large.alt = small.alt;
    dialog.querySelector("a").href = link.href;
    dialog.showModal();
  });
  dialog.querySelector("button").addEventListener("click", function () { dialog.close(); });
  dialog.addEventListener("click", function (event) { if (event.target === dialog) { dialog.close(); } });
})();
</script>
</body>
</html>
""")
