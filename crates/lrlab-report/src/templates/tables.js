"use strict";
// Sorting, filtering and copying of tables, and a note on rows and columns that are scrolled out of view.
(() => {
  // The minimum number of rows of a table with a filter.
  const MANY = 9;
  const text = (cell) => cell.innerText.replace(/\s+/g, " ").trim();
  // The first number of a cell; null if there is none.
  const figure = (words) => {
    const found = words.startsWith("–") ? null : words.replace("−", "-").match(/-?\d+(\.\d+)?(e-?\d+)?/);
    return found && Number(found[0]) * (words.startsWith("<") ? 0.999 : 1);
  };
  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    Object.assign(element, attributes);
    element.append(...children);
    return element;
  };

  // ---- Formats: rows of texts, the header first ----

  const quoted = (field) => (/[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);
  const csv = (rows) => rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  const markdown = ([heads, ...rows], numeric) => {
    const line = (cells) => `| ${cells.join(" | ")} |`;
    const plain = (cell) => cell.replace(/[\\`*_[\]|#~$]/g, "\\$&").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    return [line(heads.map(plain)), line(numeric.map((is) => (is ? "---:" : "---"))), ...rows.map((row) => line(row.map(plain)))].join("\n") + "\n";
  };
  const MATH = { "±": "$\\pm$", "–": "--", "−": "$-$", "×": "$\\times$", "Δ": "$\\Delta$", "≥": "$\\geq$", "≤": "$\\leq$", "ⁿ": "$^n$", "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}" };
  const latex = ([heads, ...rows], numeric) => {
    const plain = (cell) => cell.replace(/[\\~^<>±–−×Δ≥≤ⁿ]|[&%$#_{}]/g, (c) => MATH[c] ?? `\\${c}`);
    // A bracket after \\ would start its optional argument.
    const line = (cells) => `  ${/^[[*]/.test(cells[0] ?? "") ? "{}" : ""}${cells.map(plain).join(" & ")} \\\\`;
    return [`\\begin{tabular}{@{}${numeric.map((is) => (is ? "r" : "l")).join("")}@{}}`, "  \\toprule", line(heads), "  \\midrule",
      ...rows.map(line), "  \\bottomrule", "\\end{tabular}"].join("\n") + "\n";
  };
  const copy = async (words) => {
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      // Pages in an insecure context have no clipboard API.
      const area = document.body.appendChild(make("textarea", { value: words }));
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      if (!copied) throw new Error("the browser denied access to the clipboard");
    }
  };

  for (const box of document.querySelectorAll(".scroll[data-name]")) {
    const table = box.querySelector("table");
    const body = table.tBodies[0];
    const original = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];

    // A click on a column heading sorts by it, a second click reverses the order, and a third restores the original order.
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const order = before === "ascending" ? "descending" : before === "descending" ? null : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const key = (row) => (head.classList.contains("num") ? figure(row.cells[column].textContent) : null);
      const numeric = original.some((row) => key(row) !== null);
      const compare = (a, b) => {
        if (!numeric) return a.cells[column].textContent.localeCompare(b.cells[column].textContent, undefined, { numeric: true });
        const [x, y] = [key(a), key(b)];
        return x === null ? (y === null ? 0 : Infinity) : y === null ? -Infinity : x - y;
      };
      // Missing values are last in either direction.
      const sign = (c) => (order === "descending" && Number.isFinite(c) ? -c : c);
      const rows = order ? [...original].sort((a, b) => sign(compare(a, b))) : original;
      body.append(...rows);
      table.classList.toggle("sorted", order !== null);
    }));

    // A click on any cell follows the link of the row.
    const linked = original.some((row) => row.querySelector("a"));
    table.classList.toggle("linked", linked);
    if (linked) {
      body.addEventListener("click", ({ target }) => {
        if (!target.closest("a") && getSelection().isCollapsed) target.closest("tr").querySelector("a")?.click();
      });
    }

    // A row matches if it contains every word.
    const filter = make("input", { type: "search", placeholder: "filter rows" });
    filter.setAttribute("aria-label", "Filter rows");
    const count = make("span", { className: "count" });
    count.setAttribute("role", "status");
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of original) {
        const content = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => content.includes(word));
      }
      const left = original.filter((row) => !row.hidden).length;
      count.textContent = words.length ? `${left} of ${original.length} rows` : "";
      announce();
    });

    const rows = () => [heads.map((head) => text(head.firstElementChild)), ...[...body.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(text))];
    const numeric = heads.map((head) => head.classList.contains("num"));
    const button = (name, format) => make("button", {
      type: "button", title: `Copy the visible rows as ${name}, with the displayed rounding`,
      onclick: () => {
        const all = rows();
        copy(format(all, numeric)).then(
          () => { count.textContent = `${all.length - 1} rows copied as ${name}`; },
          (error) => { count.textContent = `not copied: ${error.message}`; });
      },
    }, name);

    // The note on rows and columns out of view.
    const more = make("span", { className: "more" });
    const announce = () => {
      if (!box.clientWidth) return;
      const edge = box.getBoundingClientRect();
      const columns = heads.filter((head) => head.getBoundingClientRect().right > edge.right + 2).length;
      const below = original.filter((row) => !row.hidden && row.getBoundingClientRect().bottom > edge.top + box.clientHeight + 2).length;
      const plural = (n, word) => `${n} more ${word}${n === 1 ? "" : "s"}`;
      more.textContent = [columns && `${plural(columns, "column")} to the right →`, below && `${plural(below, "row")} below ↓`].filter(Boolean).join(" · ");
    };
    box.addEventListener("scroll", announce, { passive: true });
    new ResizeObserver(announce).observe(box);
    // Updates immediately on unfolding; the observer would wait for the next frame.
    box.closest("details")?.addEventListener("toggle", announce);

    const tools = make("div", { className: "tools" });
    if (original.length >= MANY) tools.append(filter);
    tools.append(make("span", { className: "copy" }, "copy as ", button("CSV", csv), " ", button("LaTeX", latex), " ", button("Markdown", markdown)), count, more);
    box.before(tools);

    keepers.push((keep) => {
      const column = heads.findIndex((head) => head.hasAttribute("aria-sort"));
      const clicks = column < 0 ? 0 : heads[column].getAttribute("aria-sort") === "ascending" ? 1 : 2;
      keep.tables = { ...keep.tables, [box.dataset.name]: { column, clicks, filter: filter.value, left: box.scrollLeft, top: box.scrollTop } };
    });
    const before = kept?.tables[box.dataset.name];
    if (before) {
      for (let click = 0; click < before.clicks; click++) heads[before.column]?.firstElementChild.click();
      filter.value = before.filter;
      filter.dispatchEvent(new Event("input"));
      box.scrollTo({ left: before.left, top: before.top, behavior: "instant" });
    }
  }
})();
