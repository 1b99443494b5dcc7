(() => {
"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const said = document.getElementById("said");
const say = (text) => { said.textContent = ""; setTimeout(() => { said.textContent = text; }, 50); };

// Plots. They are drawn when they come near the screen, and all of them before printing.
const NARROW = 560, PRINTED = 680, LABEL = 18;
const paint = { ink: "#1b1f24", muted: "#57606b", line: "#d8dde3" };
const merge = (base, over) => {  // over wins; arrays and plain values as a whole
  const out = { ...base };
  for (const [key, value] of Object.entries(over || {})) {
    const both = value && base[key] && typeof value === "object" && typeof base[key] === "object";
    out[key] = both && !Array.isArray(value) ? merge(base[key], value) : value;
  }
  return out;
};
const axes = (layout) => Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));

// What a figure looks like unless it says otherwise.
const axis = {
  gridcolor: paint.line, linecolor: paint.muted, zerolinecolor: paint.muted, zerolinewidth: 1, showline: true, ticks: "outside",
  ticklen: 4, tickcolor: paint.muted, automargin: true, title: { standoff: 10 },
};
const house = {
    layout: {
      font: { family: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif', size: 14, color: paint.ink },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      colorway: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5f6772"],
      xaxis: axis, yaxis: axis, hovermode: "closest", hoverlabel: { font: { size: 13 }, namelength: -1 },
      legend: { bgcolor: "rgba(0,0,0,0)" }, margin: { l: 60, r: 16, t: 24, b: 48 },
    },
};

// Words of a title in lines of at most so many characters.
const wrapped = (text, most) => text.split(" ").reduce((lines, word) => {
  const last = lines.at(-1);
  return last && last.length + word.length < most ? [...lines.slice(0, -1), `${last} ${word}`] : [...lines, word];
}, []).join("<br>");

// Subplots side by side: on a narrow screen in one column, or in two where their axes have no labels; gives the height.
const restacked = (layout, width, height) => {
  const cells = axes(layout).filter((key) => key[0] === "x").map((x) => [x, x.replace("x", "y")]);
  if (cells.length < 2 || cells.some(([x, y]) => !layout[x].domain || !layout[y]?.domain)) return height;
  if (new Set(cells.map(([x]) => layout[x].domain[0])).size < 2) return height;
  const bare = cells.every(([x]) => layout[x].visible === false || layout[x].showticklabels === false);
  const columns = bare ? 2 : 1, rows = Math.ceil(cells.length / columns);
  const above = 30, below = bare ? 6 : 44, cell = Math.round(width / columns * (bare ? 1 : 0.7)), total = rows * (above + cell + below);
  const titles = (layout.annotations || []).map((note) => ({ ...note, font: { ...note.font, size: layout.font.size } }));
  cells.forEach(([x, y], i) => {
    const row = Math.floor(i / columns), column = i % columns, top = 1 - (row * (above + cell + below) + above) / total;
    const [left, right] = layout[x].domain, upper = layout[y].domain[1];
    const across = [(column + (column ? 0.03 : 0)) / columns, (column + (column < columns - 1 ? 0.97 : 1)) / columns];
    layout[x] = { ...layout[x], domain: across };
    layout[y] = { ...layout[y], domain: [Math.max(top - cell / total, 0), top] };
    for (const [k, note] of (layout.annotations || []).entries()) {
      const own = note.xref === "paper" && note.yref === "paper" && Math.abs(note.x - (left + right) / 2) < 0.01;
      if (own && Math.abs(note.y - upper) < 0.01) Object.assign(titles[k], { x: (across[0] + across[1]) / 2, y: top });
    }
  });
  layout.annotations = titles;
  return total + 40;
};

const tracesOf = (data, key) => data.filter((trace) => (trace[key.replace(/\d/g, "")] ?? key[0]) === key.replace("axis", ""));
const hasNames = (layout, data, key) => layout[key].type === "category" || tracesOf(data, key).some((t) => typeof t[key[0]]?.[0] === "string");
// What stands beside a y axis, as lists of lines.
const namesAt = (layout, data, key) => [
  ...(hasNames(layout, data, key) ? tracesOf(data, key).flatMap((trace) => Array.isArray(trace.y) ? trace.y : []) : []),
  ...(layout[key].ticktext ?? []),
].map((name) => String(name).split("<br>"));

const shape = (spec, width, height) => {
  const layout = merge({ template: house }, spec.layout || {});
  Object.assign(layout, { autosize: false, width, height });
  for (const key of axes(layout)) {
    const own = layout[key] = { ...layout[key] };
    const free = own.type === "log" && !["tickvals", "dtick", "nticks"].some((tick) => tick in own);
    if (free) own.dtick = width < NARROW ? 1 : "D2";  // or every digit has a label
  }
  if (width < NARROW) narrow(layout, spec.data, width, height);
  // Titles that are longer than their axis are broken.
  const names = axes(layout).filter((key) => key[0] === "y").flatMap((key) => namesAt(layout, spec.data, key).flat());
  const longest = Math.max(0, ...names.map((line) => line.length));
  for (const key of axes(layout)) {
    const title = layout[key].title, room = key[0] === "x" ? width - 60 - 6.5 * longest : layout.height * 0.75;
    if (title?.text) layout[key].title = { ...title, text: wrapped(title.text, room / (width < NARROW ? 7.5 : 9)) };
  }
  return layout;
};

// On a narrow screen: the legend below, fewer ticks, names in lines, more room where these need it.
const narrow = (layout, data, width, height) => {
  layout.font = merge(layout.font || {}, { size: width < 340 ? 10 : 12 });
  layout.margin = merge(layout.margin || {}, { l: 44, r: 8, b: 40 });
  const folded = (names) => names.map((name) => typeof name === "string" ? wrapped(name, LABEL) : name);
  let needed = 0;
  for (const key of axes(layout)) {
    const own = layout[key], named = hasNames(layout, data, key);
    if (key[0] === "x") {
      if (!named && !own.tickvals && !own.dtick) own.nticks = 5;
      continue;
    }
    if (named) tracesOf(data, key).forEach((trace) => { if (Array.isArray(trace.y)) trace.y = folded(trace.y); });
    for (const list of ["categoryarray", "ticktext"]) if (Array.isArray(own[list])) own[list] = folded(own[list]);
    if (named) {
      const names = namesAt(layout, data, key), most = Math.max(1, ...names.map((name) => name.length));  // lines of a name
      needed = 100 + new Set(names.map(String)).size * (16 * most + 14);
    }
  }
  layout.height = Math.max(restacked(layout, width, height), needed);
  for (const trace of data) {
    const many = trace.marker?.size && typeof trace.marker.size === "object";
    if (many && layout.height !== height) trace.marker.sizeref = 1.7 * (trace.marker.sizeref ?? 1);  // in a smaller plot
    if (trace.marker?.colorbar) {
      Object.assign(trace.marker.colorbar, { orientation: "h", x: 0.5, xanchor: "center", y: 0, yanchor: "top", len: 0.9 });
      trace.marker.colorbar.title = { ...trace.marker.colorbar.title, side: "top" };
      layout.margin.b = 70;
    }
  }
  const entries = new Set(data.filter((t) => t.name && t.showlegend !== false).map((t) => t.legendgroup || t.name));
  if (layout.showlegend !== false && (entries.size > 1 || layout.showlegend)) {
    layout.legend = merge(layout.legend || {}, {
      orientation: "h", x: 0, xanchor: "left", xref: "container", y: 0, yanchor: "bottom", yref: "container", title: { side: "top" },
    });
    const drawn = layout.height === height && !needed ? Math.round(height * 0.85) : layout.height;
    layout.height = drawn + 22 * Math.ceil(entries.size / 2);
  }
};

const coarse = matchMedia("(pointer: coarse)").matches;
const config = {
  displaylogo: false, showLink: false, showSendToCloud: false, showEditInChartStudio: false, plotlyServerURL: "", responsive: false,
  displayModeBar: false, scrollZoom: false, doubleClick: "reset",
};
const plots = all("figure.plot").map((figure) => ({
  figure, div: figure.querySelector(".drawing"), title: figure.querySelector("h3").textContent,
  words: figure.querySelector("figcaption").textContent, width: 0,
}));

const draw = (plot, width) => {
  const spec = JSON.parse(plot.figure.querySelector("script.figure").textContent);  // anew: plotly.js writes into what it draws
  const layout = shape(spec, width, Number(plot.div.dataset.height));
  plot.width = width;
  if (coarse) layout.dragmode = false;  // a finger on a plot scrolls the page
  plot.div.style.height = layout.height + "px";
  const done = () => {
    all(".main-svg", plot.div).forEach((svg, number) => {
      if (number) svg.setAttribute("aria-hidden", "true");
      else { svg.setAttribute("role", "img"); svg.setAttribute("aria-label", plot.words); }
    });
    plot.div.dataset.drawn = "";
  };
  const promise = Plotly.react(plot.div, spec.data, layout, config);
  done();
  promise.then(done);
};
const fit = (plot) => draw(plot, plot.div.clientWidth);

if (plots.length) {
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      fit(plots.find((plot) => plot.div === entry.target));
    }
  }, { rootMargin: "600px" });
  plots.forEach((plot) => near.observe(plot.div));
  let printing = false;
  const sizes = new ResizeObserver((entries) => {
    for (const entry of entries) {
      const plot = plots.find((one) => one.div === entry.target);
      if (!printing && plot.width && plot.div.clientWidth && plot.div.clientWidth !== plot.width) fit(plot);
    }
  });
  plots.forEach((plot) => sizes.observe(plot.div));
  addEventListener("beforeprint", () => { printing = true; plots.forEach((plot) => draw(plot, PRINTED)); });
  addEventListener("afterprint", () => { printing = false; plots.forEach(fit); });
  for (const plot of plots) {
    plot.figure.querySelector(".picture").addEventListener("click", () => {
      if (!plot.width) fit(plot);
      Plotly.downloadImage(plot.div, { format: "svg", filename: plot.figure.id });
    });
  }
}

// Printed pages have nothing folded away, and no table wider than the paper: at the size of printed text (0.7 of that on the
// screen) as much smaller as it takes.
let closed = [];
addEventListener("beforeprint", () => {
  for (const table of all("table")) table.style.setProperty("--fit", Math.min(1, PRINTED / (0.7 * table.scrollWidth)).toFixed(3));
  closed = all("details:not([open], .data)");
  closed.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));

// Tables.
const save = (text, name, type) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const copy = async (text, what) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(what + " copied");
};
const clean = (cell) => cell.textContent.replace(/\s+/g, " ").trim();
const flash = (button, text) => {
  const before = button.textContent;
  button.textContent = text;
  setTimeout(() => { button.textContent = before; }, 1500);
};

for (const view of all(".table")) {
  const table = view.querySelector("table"), body = table.tBodies[0];
  const rows = [...body.rows];
  all(".sort", table).forEach((button, column) => button.addEventListener("click", () => {
    const head = button.closest("th"), down = head.getAttribute("aria-sort") === "ascending";
    all("[aria-sort]", table).forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rank = (row) => row.cells[column].dataset.r;
    const known = rows.filter((row) => rank(row) !== undefined), unknown = rows.filter((row) => rank(row) === undefined);
    known.sort((a, b) => (down ? -1 : 1) * (rank(a) - rank(b)));
    body.append(...known, ...unknown);
    say(`sorted by ${clean(button)}, ${down ? "descending" : "ascending"}`);
  }));
  const scroll = view.querySelector(".scroll");
  const more = () => view.classList.toggle("more", scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 4);
  scroll.addEventListener("scroll", more, { passive: true });
  new ResizeObserver(more).observe(scroll);
  view.querySelector(".copy")?.addEventListener("click", async (event) => {
    const button = event.currentTarget;
    const lines = [...table.rows].map((row) => [...row.cells].map(clean).join("\t"));
    await copy(lines.join("\n") + "\n", "table");
    flash(button, "Copied");
  });
  view.querySelector(".csv")?.addEventListener("click", () => {
    const name = (table.getAttribute("aria-label").replace(/[^\p{L}\p{N}=.-]+/gu, "_").replace(/^_+|_+$/g, "") || view.id) + ".csv";
    save(JSON.parse(view.querySelector(".csv-text").textContent), name, "text/csv;charset=utf-8");
  });
}
for (const button of all(".copy-text")) {
  button.addEventListener("click", async () => {
    await copy(button.closest(".listing").querySelector("pre").textContent, "text");
    flash(button, "Copied");
  });
}

// Faces.
const dialog = document.getElementById("large");
for (const gallery of all(".gallery")) {
  all("[data-layer]", gallery).forEach((box) => {
    const show = () => gallery.classList.toggle("no-" + box.dataset.layer, !box.checked);
    box.addEventListener("change", show);
    show();  // browsers keep boxes as they were over a reload
  });
  all(".face", gallery).forEach((button) => button.addEventListener("click", () => {
    const picture = button.querySelector("svg").cloneNode(true);
    all("[id]", picture).forEach((part) => part.removeAttribute("id"));
    dialog.querySelector(".large").replaceChildren(picture);
    dialog.querySelector("p").textContent = button.getAttribute("aria-label").replace(/: enlarge$/, "");
    dialog.showModal();
  }));
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

// The list of contents: open beside the text, folded above it on a small screen; it shows where one is.
const contents = document.getElementById("contents"), wide = matchMedia("(min-width: 68.01rem)");
const fold = () => { contents.open = wide.matches; };
wide.addEventListener("change", fold);
fold();
const links = all("a", contents);
links.forEach((link) => link.addEventListener("click", () => { if (!wide.matches) contents.open = false; }));
const sections = all("main > section");
const here = () => {
  const at = sections.filter((section) => section.getBoundingClientRect().top < innerHeight / 3).at(-1) ?? sections[0];
  links.forEach((link) => { if (link.hash === "#" + at.id) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current"); });
};
let waiting = false;
addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; here(); });
}, { passive: true });
if (sections.length) here();
})();
