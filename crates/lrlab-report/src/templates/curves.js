"use strict";
// The interactive curves. `view` holds the selection, is encoded in the page's URL fragment, and determines the drawing.
(() => {
  const section = document.getElementById("curves");
  // A page with too many runs has no curves.
  if (!section) return;
  const data = JSON.parse(document.getElementById("curves-data").textContent);
  if (!data.metrics.length || !data.panels.length) return;
  // The value lists of a run are in the order of the metrics.
  const listed = data.metrics.filter(({ key }) => key !== "lr");
  for (const run of data.arms.flat()) {
    const values = ({ unit }, i) => run.values[i].map((x) => (x === null ? null : x * unit));
    run.values = Object.fromEntries(listed.map((metric, i) => [metric.key, values(metric, i)]).filter(([, list]) => list.length));
    run.epochs ??= Array.from({ length: Math.max(0, ...Object.values(run.values).map((list) => list.length)) }, (_, i) => i + 1);
  }

  const AXES = { epoch: "epoch", update: "update", time: "computing time (s)" };
  // The largest distance, in pixels, at which the pointer selects a point.
  const NEAR = 40;
  const number = (x, digits) => (x === null || x === undefined ? "–" : x.toFixed(digits));
  const rate = (x) => (x === null || x === undefined ? "–" : x === 0 ? "0" : x < 1e-3 ? x.toExponential(2) : x.toPrecision(3));
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== false && value !== null) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  };
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  const spread = (list) => {
    if (list.length < 2) return null;
    const m = mean(list);
    return Math.sqrt(list.reduce((sum, x) => sum + (x - m) ** 2, 0) / (list.length - 1));
  };

  // ---- The view and its address ----

  const runsOf = (panel) => panel.arms.flatMap(({ arm }) => data.arms[arm]);
  const axes = Object.keys(AXES).filter((x) => data.arms.flat().some((run) => run.epochs.length && scaleOf(run, x) !== null));
  function scaleOf(run, x) {
    return x === "epoch" ? 1 : x === "update" ? run.updates_per_epoch : run.seconds_per_epoch;
  }
  const firstArms = (panel) => new Set(panel.arms.filter((arm) => arm.first).map(({ arm }) => arm));
  const measured = (panel, metric) =>
    runsOf(panel).some((run) => (metric.key === "lr" ? run.rate !== null : metric.key in run.values));
  const metricsOf = (panel) => data.metrics.filter((metric) => measured(panel, metric));
  const preferred = (panel) => {
    const keys = metricsOf(panel).map((metric) => metric.key);
    return ["val_accuracy", "val_loss", "train_loss"].find((key) => keys.includes(key)) ?? keys[0] ?? data.metrics[0].key;
  };

  // Parses a URL fragment; missing and invalid values get their defaults.
  const read = (hash) => {
    const given = new Map(hash.replace(/^#/, "").split("&").slice(1).map((part) => part.split("=").map(decodeURIComponent)));
    const index = Number(given.get("panel"));
    const panel = data.panels[index] ? index : 0;
    const here = data.panels[panel];
    const metric = metricsOf(here).some(({ key }) => key === given.get("metric")) ? given.get("metric") : preferred(here);
    const known = new Set(here.arms.map(({ arm }) => arm));
    const numbers = (key) => (given.get(key) ?? "").split(",").filter((part) => part !== "").map(Number);
    const arms = given.has("arms") ? new Set(numbers("arms").filter((arm) => known.has(arm))) : firstArms(here);
    const zoom = numbers("zoom");
    const smooth = Number(given.get("smooth") ?? 0);
    const pin = Number(given.get("pin") ?? NaN);
    return {
      panel, metric, arms,
      x: axes.includes(given.get("x")) ? given.get("x") : axes[0] ?? "epoch",
      seeds: given.get("lines") === "seeds",
      log: given.get("y") === "log",
      smooth: smooth > 0 && smooth < 1 ? smooth : 0,
      zoom: zoom.length === 4 && zoom.every(Number.isFinite) && zoom[0] < zoom[1] && zoom[2] < zoom[3] ? zoom : null,
      pin: known.has(pin) ? pin : null,
    };
  };
  // The URL fragment of a view, without default values.
  const write = (view) => {
    const panel = data.panels[view.panel];
    const first = firstArms(panel);
    const same = first.size === view.arms.size && [...first].every((arm) => view.arms.has(arm));
    return ["#curves",
      view.panel !== 0 && `panel=${view.panel}`,
      view.metric !== preferred(panel) && `metric=${encodeURIComponent(view.metric)}`,
      view.x !== axes[0] && `x=${view.x}`,
      !same && `arms=${[...view.arms].sort((a, b) => a - b).join(",")}`,
      view.seeds && "lines=seeds",
      view.log && "y=log",
      view.smooth > 0 && `smooth=${view.smooth}`,
      view.zoom && `zoom=${view.zoom.map((x) => Number(x.toPrecision(6))).join(",")}`,
      view.pin !== null && `pin=${view.pin}`,
    ].filter(Boolean).join("&");
  };
  const addressed = () => /^#curves(&|$)/.test(location.hash);
  let view = read(addressed() ? location.hash : "");
  const change = (changes) => {
    Object.assign(view, changes);
    history.replaceState(history.state, "", write(view));
    draw();
  };

  // ---- Curves ----

  // `{ x, mean, sd, n, planned, seeds: [{ run, x, y, diverged }], joined }` of an arm, in display units.
  const curveOf = (arm, metric, axis) => {
    const all = data.arms[arm];
    const done = all.filter((run) => run.epochs.length && scaleOf(run, axis) !== null);
    const line = (run) => {
      const scale = scaleOf(run, axis);
      if (metric.key === "lr") {
        const known = run.rate === null ? null : data.rates[run.rate];
        return { run, x: (known?.x ?? []).map((x) => x * scale), y: known?.y ?? [], joined: known?.joined ?? true };
      }
      const values = run.values[metric.key] ?? [];
      const kept = run.epochs.map((epoch, i) => [epoch * scale, values[i]]).filter(([, y]) => y !== null && y !== undefined);
      return { run, x: kept.map(([x]) => x), y: kept.map(([, y]) => y * metric.factor), joined: true };
    };
    const seeds = done.map((run) => ({ ...line(run), diverged: run.state === "diverged" })).filter(({ x }) => x.length);
    const counted = seeds.filter((seed) => !seed.diverged);
    const together = metric.key === "lr" ? overRates(counted, axis) : overEpochs(counted, metric, axis);
    return {
      ...together, seeds, n: counted.length, planned: all.length, diverged: seeds.length - counted.length,
      joined: seeds.every((seed) => seed.joined),
    };
  };
  // The mean over runs, up to the last epoch for which every run has the metric.
  const overEpochs = (seeds, metric, axis) => {
    const out = { x: [], mean: [], sd: [] };
    if (!seeds.length) return out;
    const tables = seeds.map(({ run }) => new Map(run.epochs.map((epoch, i) => [epoch, run.values[metric.key][i]])));
    const scale = mean(seeds.map(({ run }) => scaleOf(run, axis)));
    for (const epoch of [...tables[0].keys()]) {
      const values = tables.map((table) => table.get(epoch) ?? null);
      if (values.every((y) => y === null)) continue;
      if (values.some((y) => y === null)) break;
      const shown = values.map((y) => y * metric.factor);
      out.x.push(epoch * scale);
      out.mean.push(mean(shown));
      out.sd.push(spread(shown));
    }
    return out;
  };
  // The mean learning rate over runs whose corners may be at different updates.
  const overRates = (seeds, axis) => {
    const out = { x: [], mean: [], sd: [] };
    if (!seeds.length) return out;
    const lines = seeds.map(({ run }) => data.rates[run.rate]);
    const scale = mean(seeds.map(({ run }) => scaleOf(run, axis)));
    const end = Math.min(...lines.map((line) => line.x[line.x.length - 1]));
    const corners = [...new Set(lines.flatMap((line) => line.x))].filter((x) => x <= end).sort((a, b) => a - b);
    for (const x of corners) {
      const sides = [false, true].map((after) => lines.map((line) => rateAt(line, x, after)));
      for (const values of sides[0].every((y, i) => y === sides[1][i]) ? [sides[1]] : sides) {
        if (values.some((y) => y === null)) continue;
        const equal = values.every((y) => y === values[0]);
        out.x.push(x * scale);
        out.mean.push(equal ? values[0] : mean(values));
        out.sd.push(equal && values.length > 1 ? 0 : spread(values));
      }
    }
    return out;
  };
  // The rate just before or just after `x`; at a step they differ.
  const rateAt = (line, x, after) => {
    const i = after ? line.x.findLastIndex((at) => at <= x) : line.x.findIndex((at) => at >= x);
    if (i < 0) return null;
    if (line.x[i] === x) return line.y[i];
    const [a, b] = after ? [i, i + 1] : [i - 1, i];
    if (a < 0 || b >= line.x.length) return null;
    return line.y[a] + ((line.y[b] - line.y[a]) * (x - line.x[a])) / (line.x[b] - line.x[a]);
  };
  // The index of the list's value nearest to `x`; −1 for an empty list.
  const nearest = (list, x) => list.reduce((best, at, i) => (best < 0 || Math.abs(at - x) < Math.abs(list[best] - x) ? i : best), -1);
  // The value of an arm's curve at `x`: interpolated for a learning rate, else at the nearest epoch.
  const at = (curve, metric, x) => {
    if (!curve.x.length) return null;
    if (metric.key === "lr" && curve.joined) {
      const inside = Math.min(Math.max(x, curve.x[0]), curve.x[curve.x.length - 1]);
      return {
        mean: rateAt({ x: curve.x, y: curve.mean }, inside, inside < curve.x[curve.x.length - 1]),
        sd: curve.sd[nearest(curve.x, x)],
      };
    }
    const i = nearest(curve.x, x);
    return { mean: curve.mean[i], sd: curve.sd[i] };
  };
  // The exponential moving average of a line with bias correction.
  const smoothed = (list, weight) => {
    let [sum, mass] = [0, 0];
    return list.map((y) => {
      sum = weight * sum + (1 - weight) * y;
      mass = weight * mass + (1 - weight);
      return sum / mass;
    });
  };
  // The value below which a rate spends at most 3 % of its length, so that a decay to zero does not stretch a log axis.
  const lastingLow = ({ x, mean }) => {
    const pieces = x.slice(1).map((to, i) => [Math.min(mean[i], mean[i + 1]), to - x[i]]).sort(([a], [b]) => a - b);
    let left = 0.03 * (x[x.length - 1] - x[0]);
    return pieces.find(([, width]) => (left -= width) < 0)?.[0] ?? 0;
  };
  // uPlot requires increasing x: separates the two ends of a step by a negligible distance.
  const rising = (list) => {
    const out = [];
    for (const x of list) out.push(out.length && x <= out[out.length - 1] ? out[out.length - 1] + Math.max(Math.abs(x), 1) * 1e-9 : x);
    return out;
  };

  // ---- The parts of the section ----

  const option = (value, text) => make("option", { value }, text);
  const chooser = (label, onchange, options) => {
    const select = make("select", { onchange: () => onchange(select.value) }, ...options);
    return [make("label", {}, `${label} `, select), select];
  };
  const switcher = (label, onchange) => {
    const box = make("input", { type: "checkbox", onchange: () => onchange(box.checked) });
    return [make("label", {}, box, ` ${label}`), box];
  };
  const [panelLabel, panelSelect] = chooser("Panel", (value) => {
    const panel = data.panels[value];
    const metric = measured(panel, { key: view.metric }) ? view.metric : preferred(panel);
    change({ panel: Number(value), metric, arms: firstArms(panel), zoom: null, pin: null });
  }, data.panels.map((panel, i) => option(i, panel.name)));
  const [metricLabel, metricSelect] = chooser("Metric", (metric) => change({ metric, zoom: null }), []);
  const [xLabel, xSelect] = chooser("by", (x) => change({ x, zoom: null }), axes.map((x) => option(x, AXES[x])));
  const [seedsLabel, seedsBox] = switcher("one line per seed", (seeds) => change({ seeds }));
  const [logLabel, logBox] = switcher("log scale", (log) => change({ log, zoom: null }));
  const smoothRange = make("input", { type: "range", min: 0, max: 0.95, step: 0.05, oninput: () => change({ smooth: Number(smoothRange.value) }) });
  const whole = make("button", { type: "button", onclick: () => change({ zoom: null }) }, "Reset zoom");
  const controls = make("div", { class: "controls" },
    panelLabel, metricLabel, xLabel, seedsLabel, logLabel, make("label", {}, "smoothing ", smoothRange), whole);
  const plot = make("div", { class: "plot", tabindex: 0, role: "img" });
  const head = make("th", { scope: "col" });
  const rows = make("tbody");
  const armsOn = make("p", { class: "on" });
  const legend = make("div", { class: "legend" },
    armsOn,
    make("div", { class: "arms", tabindex: 0, role: "region", "aria-label": "Arms and their values" },
      make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "arm"), head,
        make("th", { scope: "col" }, "± sd"), make("th", { scope: "col" }, "n"))), rows)));
  const note = make("p", { class: "caption" });
  const pinned = make("div", { class: "pinned" });
  section.append(controls, make("div", { class: "stage" }, plot, legend), note, pinned);
  for (const element of [section, document.querySelector('nav a[href="#curves"]')]) element.hidden = false;

  // ---- Drawing ----

  let chart = null;
  let shown = [];
  const metricNow = () => data.metrics.find((metric) => metric.key === view.metric);
  const significant = (x) => (x === null || x === undefined ? "–" : String(Number(x.toPrecision(4))));
  const format = (metric) => (metric.key === "lr" ? rate : metric.digits === null ? significant : (x) => number(x, metric.digits));
  const swatch = (arm) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("width", 26);
    svg.setAttribute("height", 10);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const dash = dashOf(arm);
    const color = arm.color % data.palette.length;
    for (const [key, value] of Object.entries({
      x1: 0, x2: 26, y1: 5, y2: 5, class: `s${color}`, stroke: data.palette[color], "stroke-width": 2.5,
      "stroke-dasharray": dash.join(" "),
    })) line.setAttribute(key, value);
    svg.append(line);
    return [svg, line];
  };
  // Dashed with a monitor; further patterns when the palette repeats.
  const dashOf = (arm) => {
    const round = Math.floor(arm.color / data.palette.length) % 3;
    return [[[], [1.5, 2.5], [9, 2, 1.5, 2]], [[6, 4], [4, 2], [6, 2, 1.5, 2, 1.5, 2]]][Number(arm.dashed)][round];
  };
  const fade = (color, share) => `color-mix(in srgb, ${color} ${share * 100}%, transparent)`;

  const draw = () => {
    const panel = data.panels[view.panel];
    const metric = metricNow();
    metricSelect.replaceChildren(...metricsOf(panel).map(({ key, title }) => option(key, title)));
    [panelSelect.value, metricSelect.value, xSelect.value] = [view.panel, view.metric, view.x];
    [seedsBox.checked, logBox.checked, smoothRange.value] = [view.seeds, view.log, view.smooth];
    smoothRange.disabled = metric.key === "lr";
    whole.disabled = view.zoom === null;
    drawLegend(panel, metric);
    drawPlot(metric);
    drawPinned(panel, metric);
    showValues(null);
  };

  const drawLegend = (panel, metric) => {
    const focused = document.activeElement?.closest?.(".legend [data-arm]")?.dataset.arm;
    shown = [];
    rows.replaceChildren(...panel.arms.map((arm) => {
      const on = view.arms.has(arm.arm);
      const [svg, line] = swatch(arm);
      const button = make("button", {
        type: "button", "aria-pressed": String(on), "data-arm": arm.arm,
        title: "Click to show or hide the arm; double-click to show it alone, or all arms",
        onclick: (event) => {
          // The second click of a double click undoes the first.
          const arms = new Set(view.arms);
          if (!arms.delete(arm.arm)) arms.add(arm.arm);
          change({ arms });
          if (event.detail === 2) {
            const alone = view.arms.size === 1 && view.arms.has(arm.arm);
            change({ arms: new Set(alone ? panel.arms.map((other) => other.arm) : [arm.arm]) });
          }
        },
      }, svg, make("span", {}, arm.name));
      const cells = [0, 1, 2].map(() => make("td", { class: "num" }));
      const row = make("tr", { class: on ? "on" : "off" }, make("th", { scope: "row" }, button), ...cells);
      shown.push({ arm, on, line, row, cells, curve: on ? curveOf(arm.arm, metric, view.x) : null });
      return row;
    }));
    if (focused !== undefined) rows.querySelector(`[data-arm="${focused}"]`)?.focus();
    const link = (text, arms) => make("button", { type: "button", onclick: () => change({ arms }) }, text);
    const all = panel.arms.map(({ arm }) => arm);
    armsOn.replaceChildren(`${view.arms.size} of ${all.length} arms shown `,
      link("all", new Set(all)), " ", link("none", new Set()), " ", link("default", firstArms(panel)));
    const box = rows.closest(".arms");
    if (box.scrollHeight > box.clientHeight + 2) armsOn.append(" · more below ↓");
  };

  const drawPlot = (metric) => {
    chart?.destroy();
    const style = getComputedStyle(document.documentElement);
    const [soft, grid] = ["--soft", "--line"].map((name) => style.getPropertyValue(name));
    const font = '12px Inter, "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif';
    const on = shown.filter((it) => it.on);
    const smooth = metric.key === "lr" ? 0 : view.smooth;
    const log = view.log && on.some(({ curve }) => curve.mean.concat(...curve.seeds.map(({ y }) => y)).some((y) => y > 0));
    const finite = on.flatMap(({ curve }) => view.seeds
      ? curve.seeds.filter((seed) => !seed.diverged).flatMap(({ y }) => y)
      : curve.mean.flatMap((y, i) => (metric.key === "lr" ? [y] : [y - (curve.sd[i] ?? 0), y + (curve.sd[i] ?? 0)])).concat(curve.mean));
    const every = finite.length ? finite : on.flatMap(({ curve }) => curve.seeds.flatMap(({ y }) => y));
    const usable = every.filter((y) => !log || y > 0);
    let [low, high] = usable.length ? [Math.min(...usable), Math.max(...usable)] : [log ? 0.1 : 0, 1];
    if (log) {
      if (metric.key === "lr") low = Math.max(low, Math.min(...on.map(({ curve }) => lastingLow(curve))));
      const least = Math.min(...on.flatMap(({ curve }) => curve.mean.concat(...curve.seeds.map(({ y }) => y))).filter((y) => y > 0));
      low = Math.max(low, least / 2);
      [low, high] = [low / 1.15, high * 1.15];
    } else {
      const pad = 0.05 * (high - low) || Math.abs(high) * 0.05 || 1;
      [low, high] = [metric.key === "lr" || (low >= 0 && low < pad) ? Math.min(0, low) : low - pad, high + pad];
    }
    const xs = on.flatMap(({ curve }) => curve.x.concat(...curve.seeds.map(({ x }) => x)));
    const from = metric.key === "lr" || view.x !== "epoch" ? 0 : Math.min(...xs);
    let [left, right] = xs.length ? [from, Math.max(...xs)] : [0, 1];
    if (left === right) [left, right] = [left - 0.5, right + 0.5];
    else [left, right] = [left - 0.015 * (right - left), right + 0.015 * (right - left)];
    if (view.zoom) [left, right, low, high] = view.zoom;
    if (log) low = Math.max(low, Number.MIN_VALUE);

    const [tables, series, bands] = [[], [{}], []];
    const positive = (y) => (log && y <= 0 ? null : y);
    const addLine = (x, ys, options) => {
      tables.push([rising(x), ...ys.map((list) => list.map(positive))]);
      const points = (options.points ?? true) && x.length <= 25 && metric.key !== "lr";
      const joined = options.joined ?? true;
      series.push({
        spanGaps: true, ...options, stroke: options.stroke, ...(joined ? {} : { paths: () => null }),
        points: { show: points || !joined, size: options.width > 1.5 ? 6 : 4 },
      });
    };
    for (const { arm, curve, line } of on) {
      const stroke = getComputedStyle(line).stroke;
      const dash = dashOf(arm);
      const { joined } = curve;
      for (const seed of curve.seeds.filter((seed) => view.seeds || seed.diverged)) {
        if (smooth && !seed.diverged) addLine(seed.x, [seed.y], { stroke: fade(stroke, 0.3), width: 0.8, dash, points: false });
        const y = smooth && !seed.diverged ? smoothed(seed.y, smooth) : seed.y;
        addLine(seed.x, [y], { stroke, width: seed.diverged ? 0.8 : 1.2, dash, joined, points: !smooth });
      }
      if (view.seeds || !curve.x.length) continue;
      if (smooth) addLine(curve.x, [curve.mean], { stroke: fade(stroke, 0.35), width: 1, dash, points: false });
      addLine(curve.x, [smooth ? smoothed(curve.mean, smooth) : curve.mean], { stroke, width: 2, dash, joined, points: !smooth });
      if (metric.key !== "lr" && curve.sd.some((sd) => sd !== null)) {
        // A log axis has no values ≤ 0, so the band ends at the bottom of the axis.
        const lower = curve.mean.map((y, i) => (log ? Math.max(y - curve.sd[i], low / 10) : y - curve.sd[i]));
        tables.push([rising(curve.x), curve.mean.map((y, i) => y + curve.sd[i]), lower]);
        bands.push({ series: [series.length, series.length + 1], fill: fade(stroke, 0.16) });
        for (let edge = 0; edge < 2; edge++) series.push({ spanGaps: true, width: 0, stroke: "transparent", points: { show: false } });
      }
    }
    const crosses = on.flatMap(({ curve, line }) =>
      curve.seeds.filter((seed) => seed.diverged).map((seed) => [seed.x[seed.x.length - 1], seed.y[seed.y.length - 1], getComputedStyle(line).stroke]));
    const joinedData = tables.length ? uPlot.join(tables) : [[left, right]];
    const tick = format(metric);
    const axis = { stroke: soft, font, labelFont: font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    const whole = (list) => list.map((x) => (view.x === "time" || Number.isInteger(x) ? String(Number(x.toPrecision(6))) : ""));
    chart = new uPlot({
      width: plot.clientWidth || 600,
      height: Math.round(Math.min(Math.max(plot.clientWidth * 0.58, 260), 460)),
      legend: { show: false },
      padding: [12, 10, 0, 0],
      scales: { x: { time: false, range: () => [left, right] }, y: { distr: log ? 3 : 1, range: () => [low, high] } },
      axes: [
        { ...axis, label: AXES[view.x], labelSize: 20, size: 32, values: (_, list) => whole(list) },
        { ...axis, label: metric.title + (metric.sign ? ` (${metric.sign})` : ""), labelSize: 22, size: 58,
          values: (_, list) => list.map((y) => (y === null ? "" : y !== 0 && Math.abs(y) < 1e-3 ? y.toExponential() : String(Number(y.toPrecision(4))))) },
      ],
      series, bands,
      cursor: {
        drag: { x: true, y: true, uni: 30, setScale: false },
        points: { show: false },
        bind: { dblclick: () => () => change({ zoom: null }) },
      },
      hooks: {
        setCursor: [(u) => showValues(u.cursor.left >= 0 && u.cursor.idx !== null ? u.data[0][u.cursor.idx] : null, u.cursor)],
        setSelect: [(u) => {
          const { left, top, width, height } = u.select;
          if (width < 8 && height < 8) return;
          const whole = (size, all) => size < 8 || size >= all;
          const [x0, x1] = whole(width, u.bbox.width) ? [u.scales.x.min, u.scales.x.max] : [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
          const [y0, y1] = whole(height, u.bbox.height) ? [u.scales.y.min, u.scales.y.max] : [u.posToVal(top + height, "y"), u.posToVal(top, "y")];
          change({ zoom: [x0, x1, y0, y1] });
        }],
        draw: [(u) => {
          const { ctx } = u;
          const r = 4 * devicePixelRatio;
          ctx.save();
          ctx.lineWidth = 1.5 * devicePixelRatio;
          for (const [x, y, color] of crosses) {
            const [px, py] = [u.valToPos(x, "x", true), u.valToPos(y, "y", true)];
            if (px < u.bbox.left || py < u.bbox.top || py > u.bbox.top + u.bbox.height) continue;
            ctx.strokeStyle = color;
            ctx.beginPath();
            ctx.moveTo(px - r, py - r); ctx.lineTo(px + r, py + r);
            ctx.moveTo(px - r, py + r); ctx.lineTo(px + r, py - r);
            ctx.stroke();
          }
          ctx.restore();
        }],
      },
    }, joinedData, plot);
    chart.over.addEventListener("click", () => {
      const arm = under();
      if (arm !== null) change({ pin: arm });
    });
    plot.setAttribute("aria-label", `${metric.title} by ${AXES[view.x]}: ${on.map(({ arm }) => arm.name).join("; ") || "no arm shown"}`);
    const marks = [
      view.seeds ? "One line per seed." : metric.key === "lr" ? "Lines: mean over seeds." : "Lines: mean over seeds; bands: ± one sample standard deviation.",
      view.x === "time" && "Time: time for training, evaluation and reading data, distributed evenly over the epochs of a run.",
      smooth > 0 && `Smoothing: exponential moving average with weight ${smooth}; faint lines, bands and numbers are not smoothed.`,
      on.some(({ curve }) => !curve.joined) && "Marks without a line: rates of the first and last update of each epoch, if the records hold no others.",
      on.some(({ curve }) => curve.diverged) && "Thin lines ending in ×: diverged runs, excluded from means.",
      log !== view.log && "The axis is linear because no value is positive.",
      "Drag to zoom, double-click to reset; click a line to list its runs. Values have six significant digits; tables/curves.csv has full precision.",
    ];
    note.textContent = marks.filter(Boolean).join(" ");
  };

  // The arm whose line is nearest to the pointer.
  const under = () => {
    const { left, top } = chart.cursor;
    const metric = metricNow();
    let best = [NEAR, null];
    for (const { arm, on, curve } of shown) {
      if (!on) continue;
      const x = chart.posToVal(left, "x");
      const ys = [at(curve, metric, x)?.mean, ...curve.seeds.filter((seed) => view.seeds || seed.diverged).map((seed) => seed.y[nearest(seed.x, x)])];
      for (const y of ys.filter((y) => y !== undefined && y !== null)) {
        const distance = Math.abs(chart.valToPos(y, "y") - top);
        if (distance < best[0]) best = [distance, arm.arm];
      }
    }
    return best[1];
  };

  // Shows the values at `x`, or at the end if `x` is null.
  const showValues = (x) => {
    const metric = metricNow();
    const show = format(metric);
    const near = x === null ? null : under();
    const step = view.x === "time" ? `${rate(x)} s` : `${view.x} ${metric.key === "lr" && view.x === "epoch" ? number(x, 2) : number(x, 0)}`;
    head.textContent = x === null ? "at the end" : step;
    for (const { arm, on, row, cells, curve } of shown) {
      row.classList.toggle("near", arm.arm === near);
      if (!on) continue;
      const value = at(curve, metric, x ?? curve.x[curve.x.length - 1]);
      cells[0].textContent = value ? show(value.mean) : "–";
      cells[1].textContent = value && value.sd !== null ? show(value.sd) : "–";
      cells[2].textContent = curve.n === curve.planned ? curve.n : `${curve.n}/${curve.planned}`;
    }
  };

  // Lists the runs of an arm, each with its link and the command that repeats it.
  const drawPinned = (panel, metric) => {
    pinned.replaceChildren();
    const arm = panel.arms.find((arm) => arm.arm === view.pin);
    if (!arm) return;
    const curve = curveOf(arm.arm, metric, view.x);
    const show = format(metric);
    pinned.append(
      make("h3", {}, make("a", { href: `#arm-${arm.arm}` }, arm.name), ` · ${metric.title} at the end `,
        make("button", { type: "button", onclick: () => change({ pin: null }) }, "Close")),
      ...data.arms[arm.arm].flatMap((run) => {
        const seed = curve.seeds.find((seed) => seed.run === run);
        return [
          make("p", {}, make("b", {}, `seed ${run.seed}`), ` ${seed ? show(seed.y[seed.y.length - 1]) : "–"} `,
            make("span", { class: run.state }, run.state), " ", run.id ? make("a", { href: `#run-${run.id}` }, run.id) : "–"),
          ...(run.id ? commandOf(document.getElementById(`run-${run.id}`)) : []),
        ];
      }));
  };

  // ---- Keys, sizes, colours, addresses ----

  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") change({ zoom: null });
    if (!step || !chart.data[0].length) return;
    event.preventDefault();
    const last = chart.data[0].length - 1;
    const from = chart.cursor.idx ?? (step > 0 ? -1 : last + 1);
    const x = chart.data[0][Math.min(Math.max(from + step, 0), last)];
    chart.setCursor({ left: chart.valToPos(x, "x"), top: chart.over.clientHeight / 2 });
  });
  let width = 0;
  new ResizeObserver(() => {
    if (plot.clientWidth === width) return;
    width = plot.clientWidth;
    drawPlot(metricNow());
  }).observe(plot);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("hashchange", () => {
    if (!addressed()) return;
    view = read(location.hash);
    draw();
  });
  draw();
})();
