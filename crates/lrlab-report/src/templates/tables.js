"use strict";
// A click on a column's head sorts by it; a second click turns the order; a third restores the report's own.
for (const table of document.querySelectorAll(".scroll > table")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const before = head.getAttribute("aria-sort");
    const order = before === "ascending" ? "descending" : before === "descending" ? null : "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    if (order) head.setAttribute("aria-sort", order);
    const key = (row) => {
      const cell = row.cells[column];
      return "sort" in cell.dataset ? Number(cell.dataset.sort) : null;
    };
    const numeric = original.some((row) => key(row) !== null);
    const compare = (a, b) => {
      if (!numeric) return a.cells[column].textContent.localeCompare(b.cells[column].textContent, undefined, { numeric: true });
      const [x, y] = [key(a), key(b)];
      return x === null ? (y === null ? 0 : Infinity) : y === null ? -Infinity : x - y;
    };
    // What is missing stays last in either direction.
    const sign = (c) => (order === "descending" && Number.isFinite(c) ? -c : c);
    const rows = order ? [...original].sort((a, b) => sign(compare(a, b))) : original;
    body.append(...rows);
    table.classList.toggle("sorted", order !== null);
  }));
}
