// Draws the interactive parts of a report with plotly.js, from the plain values in the page's element "report-data".
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("report-data").textContent);
  const byId = (id) => document.getElementById(id);
  const INK = "#1a1a1a", GREY = "#6b6b6b", GRID = "#e3e3e3";
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const CONFIG = { displayModeBar: false, responsive: true, showTips: false };
  const state = { xLog: page.x.log, yLog: null, hidden: new Set() };

  const text = (value) => String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const short = (value) => (value === null ? "none" : Number(value.toPrecision(4)).toString());
  const pale = (colour, alpha) => {
    const part = (at) => parseInt(colour.slice(at, at + 2), 16);
    return `rgba(${part(1)},${part(3)},${part(5)},${alpha})`;
  };
  const titled = (words, key) =>
    text(words) + (key ? `<br><span style="font-size:11px;color:${GREY}">${text(key)}</span>` : "");

  // On a logarithmic axis 0 has the place that the page gives it, left of the smallest positive value.
  const placed = (value) => (!state.xLog || value > 0 ? value : value === 0 ? page.x.zero : null);
  const isLog = (panel) => (state.yLog ?? panel.log) && panel.log_range !== null;
  const positive = (value, log) => (value === null || (log && value <= 0) ? null : value);

  // Ticks of a logarithmic axis between two powers of ten: 1, 2 and 5 times powers, or powers alone on a long axis.
  function logTicks([low, high]) {
    const long = high - low, step = Math.ceil(long / 8), found = [];
    for (let power = Math.floor(low); power <= high; power++) {
      if (long > 8 && power % step) continue;
      for (const factor of long > 2.5 ? [1] : [1, 2, 5]) {
        const at = power + Math.log10(factor);
        if (at >= low && at <= high) found.push(Number(`${factor}e${power}`));
      }
    }
    const texts = found.map((tick) => (tick >= 1e-3 && tick < 1e5 ? short(tick) : tick.toExponential(0).replace("e", "×10<sup>") + "</sup>"));
    if (found.length < 2) return { exponentformat: "power" };
    return { tickvals: found, ticktext: texts.map((tick) => tick.replace("1×10", "10").replace("+", "").replace("-", "−")) };
  }

  function xAxis() {
    const { x } = page, places = x.values.map(placed).filter((value) => value !== null);
    const axis = { title: { text: titled(x.label, x.key), standoff: 10 }, automargin: true, gridcolor: GRID };
    Object.assign(axis, { zeroline: false, linecolor: GREY, ticks: "outside", tickcolor: GREY, type: "linear" });
    if (x.names) {
      Object.assign(axis, { tickvals: x.ticks, ticktext: x.ticks.map((at) => text(x.names[at])) });
      return Object.assign(axis, { range: [-0.6, x.names.length - 0.4] });
    }
    const ends = [Math.min(...places), Math.max(...places)].map((end) => (state.xLog ? Math.log10(end) : end));
    const margin = 0.04 * (ends[1] - ends[0]) || 0.5;
    Object.assign(axis, { range: [ends[0] - margin, ends[1] + margin] });
    if (state.xLog) {
      Object.assign(axis, { type: "log" }, logTicks(axis.range));
      if (x.zero || x.values.length <= 9) {
        Object.assign(axis, { tickvals: x.values.map(placed), ticktext: x.values.map(short) });
      }
    }
    return axis;
  }

  function yAxis(panel, log) {
    const [low, high] = log ? panel.log_range.map(Math.log10) : panel.range;
    const axis = { title: { text: titled(panel.y, panel.key), standoff: 8 }, automargin: true, gridcolor: GRID };
    Object.assign(axis, { zeroline: false, linecolor: GREY, ticks: "outside", tickcolor: GREY, range: [low, high] });
    return Object.assign(axis, log ? { type: "log", ...logTicks([low, high]) } : { type: "linear" });
  }

  function layoutOf(xaxis, yaxis) {
    return {
      xaxis, yaxis, showlegend: false, hovermode: "closest", dragmode: coarse ? false : "zoom",
      margin: { l: 20, r: 12, t: 10, b: 20 }, paper_bgcolor: "#fff", plot_bgcolor: "#fff",
      font: { family: "system-ui, sans-serif", size: 13, color: INK },
      hoverlabel: { bgcolor: "#fff", bordercolor: INK, align: "left", font: { size: 12, color: INK } },
    };
  }

  // The polygons between low and high, one for each stretch of points that have both.
  function band(line, xs, low, high, alpha, log) {
    const x = [], y = [];
    let from = 0;
    const close = (to) => {
      for (let i = from; i < to; i++) { x.push(xs[i]); y.push(high[i]); }
      for (let i = to - 1; i >= from; i--) { x.push(xs[i]); y.push(log ? Math.max(low[i], 1e-300) : low[i]); }
      if (to > from) { x.push(null); y.push(null); }
    };
    for (let i = 0; i <= xs.length; i++) {
      if (i === xs.length || low[i] === null || xs[i] === null || (log && high[i] <= 0)) { close(i); from = i + 1; }
    }
    const fill = { fill: "toself", fillcolor: pale(line.colour, alpha), mode: "lines", line: { width: 0 } };
    return { type: "scatter", x, y, ...fill, hoverinfo: "skip" };
  }

  function hoverOf(line, i) {
    const point = page.points[line.at[i]];
    const said = [`<b>${text(point.setting)}</b>`, ...line.said[i].map(text)];
    const more = point.more ? [`and ${point.more} more`] : [];
    return [...said, `${point.runs.length + point.more === 1 ? "run" : "runs"}:`,
      ...[...point.runs, ...more].map((name) => `  ${text(name)}`)].join("<br>");
  }

  function tracesOf(line, log) {
    const common = { type: "scatter", visible: !state.hidden.has(line.entry) };
    if (line.theory) {
      const drawn = { mode: line.x.length > 1 ? "lines" : "markers", line: { color: line.colour, dash: line.dash } };
      const x = line.x.map(placed), y = line.y.map((value) => positive(value, log));
      const hover = { hoverinfo: "text", hovertext: line.y.map((value) => `${text(line.name)}: ${short(value)}`) };
      const own = { ...common, x, y, ...drawn, ...hover, marker: { color: line.colour, symbol: "line-ew-open", size: 12 } };
      return line.low ? [{ ...common, ...band(line, x, line.low, line.high, 0.12, log) }, own] : [own];
    }
    const xs = line.x.map(placed), found = [];
    if (line.joined) {
      if (line.low.some((value) => value !== null)) found.push({ ...common, ...band(line, xs, line.low, line.high, 0.18, log) });
    }
    if (line.q1.some((value) => value !== null)) {
      const ends = xs.flatMap((_, i) => [line.q1[i], line.q3[i], null].map((value) => positive(value, log)));
      const bar = { mode: "lines", line: { color: pale(line.colour, 0.3), width: 6 }, hoverinfo: "skip" };
      found.push({ ...common, x: xs.flatMap((x) => [x, x, null]), y: ends, ...bar });
    }
    if (line.dots) {
      const y = line.dots.y.map((value) => positive(value, log));
      const marker = { color: line.colour, size: 4, opacity: 0.4 };
      found.push({ ...common, x: line.dots.x.map(placed), y, mode: "markers", marker, hoverinfo: "skip" });
    }
    const bars = line.joined ? {} : {
      error_y: {
        type: "data", symmetric: false, color: line.colour, thickness: 1.5, width: 4,
        array: line.high.map((high, i) => (high === null ? 0 : high - line.y[i])),
        arrayminus: line.low.map((low, i) => (low === null ? 0 : line.y[i] - low)),
      },
    };
    found.push({
      ...common, ...bars, x: xs, y: line.y.map((value) => positive(value, log)), customdata: line.at,
      mode: line.joined ? "lines+markers" : "markers", line: { color: line.colour, dash: line.dash, width: 2 },
      marker: { color: line.colour, symbol: line.symbol, size: 8 },
      hoverinfo: "text", hovertext: line.at.map((_, i) => hoverOf(line, i)),
    });
    return found;
  }

  // Where most runs diverged there is no estimate: a cross at the top of the panel.
  function crossesOf(panel, log) {
    const top = log ? panel.log_range[1] : panel.range[1];
    return panel.lines.filter((line) => line.lost && line.lost.x.length).map((line) => ({
      type: "scatter", mode: "markers", visible: !state.hidden.has(line.entry), cliponaxis: false,
      x: line.lost.x.map(placed), y: line.lost.x.map(() => top), marker: { color: line.colour, symbol: "x-thin-open", size: 9 },
      hoverinfo: "text", hovertext: line.lost.at.map((at) => `<b>${text(page.points[at].setting)}</b><br>diverged`),
    }));
  }

  function drawPanel(number) {
    const panel = page.panels[number], log = isLog(panel);
    const traces = [...panel.lines.flatMap((line) => tracesOf(line, log)), ...crossesOf(panel, log)];
    return Plotly.react(byId(`panel-${number}`), traces, layoutOf(xAxis(), yAxis(panel, log)), CONFIG);
  }

  const drawPanels = () => page.panels.map((_, number) => drawPanel(number));

  function listen() {
    const x = byId("log-x"), y = byId("log-y");
    const redraw = () => { drawPanels(); if (page.fits) fits.draw(); };
    if (x) x.addEventListener("change", () => { state.xLog = x.checked; redraw(); });
    if (y) y.addEventListener("change", () => { state.yLog = y.checked; redraw(); });
    for (const button of document.querySelectorAll("button[data-entry]")) {
      button.addEventListener("click", () => {
        const entry = Number(button.dataset.entry), shown = state.hidden.delete(entry);
        if (!shown) state.hidden.add(entry);
        button.setAttribute("aria-pressed", String(shown));
        drawPanels();
      });
    }
  }

  // The fitted curve at the slider's place over the data, beside the errors with a marker there.
  const fits = {
    curve: page.fits ? page.fits.first : 0,
    get places() { return page.fits.curves[this.curve].places; },
    get at() { return Number(byId("fit-x").value); },

    draw() {
      const { grid, truth, range, input, output } = page.fits, curve = page.fits.curves[this.curve];
      const place = curve.places[this.at], fit = place.fit, traces = [];
      const lines = { type: "scatter", mode: "lines", x: grid };
      if (fit) {
        const data = page.fits.data[fit.data], hoverinfo = "skip";
        traces.push({ type: "scatter", mode: "markers", ...data, marker: { color: "#444444", size: 7, opacity: 0.6 }, hoverinfo });
        for (const y of fit.others) traces.push({ ...lines, y, line: { color: pale(page.fits.colour, 0.45), width: 1.2 }, hoverinfo });
        if (truth) traces.push({ ...lines, y: truth, line: { color: "#333333", dash: "8px,4px", width: 1.5 }, name: "true function", hovertemplate: "true function: %{y:.4g}<extra></extra>" });
        traces.push({ ...lines, y: fit.y, line: { color: page.fits.colour, width: 3 }, hovertemplate: "fitted: %{y:.4g}<extra></extra>" });
      }
      const axis = { gridcolor: GRID, zeroline: false, automargin: true, linecolor: GREY, ticks: "outside", tickcolor: GREY };
      const xaxis = { ...axis, title: { text: text(input), standoff: 10 }, range: [grid[0], grid[grid.length - 1]] };
      const yaxis = { ...axis, title: { text: text(output), standoff: 8 }, range };
      Plotly.react(byId("fit-curve"), traces, layoutOf(xaxis, yaxis), CONFIG);
      this.drawErrors(curve, place);
      this.say(place);
    },

    drawErrors(curve, place) {
      const log = isLog(curve.panel), x = placed(place.x);
      const traces = curve.panel.lines.flatMap((line) => tracesOf({ ...line, entry: -1 }, log));
      for (const line of curve.panel.lines) {
        const i = line.x.indexOf(place.x);
        const marker = { symbol: "circle-open", size: 17, color: line.colour, line: { width: 3 } };
        const y = i < 0 ? [] : [positive(line.y[i], log)];
        traces.push({ type: "scatter", mode: "markers", x: y.length ? [x] : [], y, marker, hoverinfo: "skip", name: "here" });
      }
      const layout = layoutOf(xAxis(), yAxis(curve.panel, log));
      layout.shapes = [{ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: INK, width: 1 } }];
      return Plotly.react(byId("fit-errors"), traces, layout, CONFIG);
    },

    say(place) {
      const name = page.x.names ? page.x.names[place.x] : place.text;
      byId("fit-x-value").textContent = name;
      byId("fit-x").setAttribute("aria-valuetext", [name, ...place.said].join("; "));
      const run = place.fit ? `The curve is that of the run ${place.fit.run}.` : "No weights were kept of a run at this setting.";
      byId("fit-said").textContent = [place.said.join("; "), run].filter(Boolean).join(". ");
    },

    listen() {
      const slider = byId("fit-x"), chosen = byId("fit-of");
      let waiting = false;
      slider.addEventListener("input", () => {  // at most once for each frame
        if (waiting) return;
        waiting = true;
        requestAnimationFrame(() => { waiting = false; this.draw(); });
      });
      if (chosen) {
        chosen.addEventListener("change", () => {
          this.curve = Number(chosen.value);
          slider.max = this.places.length - 1;
          this.draw();
        });
      }
      byId("fit-errors").on("plotly_click", (event) => {
        const at = this.places.findIndex((place) => placed(place.x) === event.points[0].x);
        if (at >= 0) { slider.value = at; this.draw(); }
      });
    },
  };

  // A line for each setting through one axis for each key; a range that is marked on an axis keeps the lines through it.
  const parallel = {
    draw() {
      const { axes, colours } = page.parallel;
      const dimensions = axes.map((axis) => ({
        label: text(axis.label), values: axis.values, range: axis.range, tickvals: axis.ticks, ticktext: axis.texts,
      }));
      const line = { color: colours, colorscale: page.parallel.scale, reversescale: page.parallel.reversed };
      const layout = layoutOf({}, {});
      Object.assign(layout, { margin: { l: 70, r: 70, t: 50, b: 20 }, height: 380 });
      const trace = { type: "parcoords", dimensions, line, labelfont: { size: 13, color: INK } };
      const looks = { tickfont: { size: 12, color: INK }, rangefont: { size: 1, color: "rgba(0,0,0,0)" } };
      return Plotly.newPlot(byId("parallel"), [{ ...trace, ...looks }], layout, CONFIG);
    },

    listen() {
      byId("parallel").on("plotly_restyle", () => this.say());
      this.say();
    },

    say() {
      const { axes, said } = page.parallel, kept = [];  // best first
      const ranges = byId("parallel").data[0].dimensions.map(({ constraintrange: range }) =>
        !range ? null : Array.isArray(range[0]) ? range : [range]);
      for (let i = 0; i < said.length; i++) {
        const inside = axes.every((axis, k) => !ranges[k] ||
          ranges[k].some(([low, high]) => low <= axis.values[i] && axis.values[i] <= high));
        if (inside) kept.push(i);
      }
      byId("parallel-kept").textContent = `${kept.length} of ${said.length} settings` +
        (kept.length ? `; the best of them: ${said[kept[0]]}` : ".");
    },
  };

  const body = document.body;
  body.classList.add("is-live");
  const drawn = [];
  try {
    drawn.push(...drawPanels());
    listen();
    if (page.fits) { fits.draw(); fits.listen(); }
  } catch (error) {  // the figure without interaction says the same
    body.classList.remove("is-live");
    throw error;
  }
  if (page.parallel) {
    const painted = new Promise((resolve) => setTimeout(resolve));  // the panels show first
    const lost = () => { byId("parallel-section").hidden = true; };  // without WebGL; the table has all settings
    drawn.push(painted.then(() => parallel.draw()).then(() => parallel.listen()).catch(lost));
  }
  Promise.all(drawn).then(() => { body.dataset.drawn = "true"; });
})();
