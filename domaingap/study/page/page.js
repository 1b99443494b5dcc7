(() => {
"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const said = document.getElementById("said");
const say = (text) => { said.textContent = ""; setTimeout(() => { said.textContent = text; }, 50); };

// Plots. They are drawn when they come near the screen, and all of them before printing.
const NARROW = 560, PRINTED = 680;
const light = { ink: "#1b1f24", muted: "#57606b", line: "#d8dde3", paper: "#fff" };
const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(Object.keys(light).map((name) => [name, style.getPropertyValue("--" + name).trim()]));
};
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
const house = (paint) => {
  const axis = {
    gridcolor: paint.line, linecolor: paint.muted, zerolinecolor: paint.muted, zerolinewidth: 1, showline: true, ticks: "outside",
    ticklen: 4, tickcolor: paint.muted, automargin: true, title: { standoff: 10 },
  };
  return {
    layout: {
      font: { family: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif', size: 14, color: paint.ink },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      colorway: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5f6772"],
      xaxis: axis, yaxis: axis, hovermode: "closest", hoverlabel: { font: { size: 13 }, namelength: -1 },
      legend: { bgcolor: "rgba(0,0,0,0)", itemsizing: "constant" }, margin: { l: 60, r: 16, t: 24, b: 48 },
    },
  };
};

const shape = (spec, width, height, paint) => {
  const layout = merge({ template: house(paint) }, spec.layout || {});
  Object.assign(layout, { autosize: false, width, height });
  if (width >= NARROW) return layout;
  const named = new Set(spec.data.filter((t) => t.name && t.showlegend !== false).map((t) => t.legendgroup || t.name));
  const legend = layout.showlegend !== false && (named.size > 1 || layout.showlegend);
  layout.font = merge(layout.font || {}, { size: 12 });
  layout.margin = merge(layout.margin || {}, { l: 44, r: 8, b: 40 });
  for (const key of axes(layout)) layout[key] = merge(layout[key], layout[key].tickvals ? {} : { nticks: 5 });
  if (legend) {
    layout.legend = merge(layout.legend || {}, {
      orientation: "h", x: 0, xanchor: "left", xref: "container", y: 0, yanchor: "bottom", yref: "container", title: { side: "top" },
    });
    layout.height = Math.round(height * 0.85) + 22 * Math.ceil(named.size / 2);
  }
  return layout;
};

const coarse = matchMedia("(pointer: coarse)").matches;
const config = {
  displaylogo: false, showLink: false, showSendToCloud: false, showEditInChartStudio: false, plotlyServerURL: "", responsive: false,
  displayModeBar: false, scrollZoom: false, doubleClick: "reset",
};
const plots = all("figure.plot").map((figure) => ({
  figure, div: figure.querySelector(".drawing"), title: figure.querySelector("h3").textContent,
  words: figure.querySelector("figcaption").textContent, spec: null, width: 0,
}));

const draw = (plot, width, paint) => {
  plot.spec ??= JSON.parse(figureText(plot.figure));
  plot.width = width;
  const layout = shape(plot.spec, width, Number(plot.div.dataset.height), paint);
  if (coarse) layout.dragmode = false;  // a finger on a plot scrolls the page
  plot.div.style.height = layout.height + "px";
  const done = () => {
    all(".main-svg", plot.div).forEach((svg, number) => {
      if (number) svg.setAttribute("aria-hidden", "true");
      else { svg.setAttribute("role", "img"); svg.setAttribute("aria-label", plot.words); }
    });
    plot.div.dataset.drawn = "";
  };
  const promise = Plotly.react(plot.div, plot.spec.data, layout, config);
  done();
  promise.then(done);
};
const figureText = (figure) => figure.querySelector("script.figure").textContent;
const fit = (plot) => draw(plot, plot.div.clientWidth, colours());

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
      if (!printing && plot.spec && plot.div.clientWidth && plot.div.clientWidth !== plot.width) fit(plot);
    }
  });
  plots.forEach((plot) => sizes.observe(plot.div));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.filter((plot) => plot.spec).forEach(fit));
  addEventListener("beforeprint", () => { printing = true; plots.forEach((plot) => draw(plot, PRINTED, light)); });
  addEventListener("afterprint", () => { printing = false; plots.forEach(fit); });
  for (const plot of plots) {
    plot.figure.querySelector(".picture").addEventListener("click", () => {
      if (!plot.spec) fit(plot);
      Plotly.downloadImage(plot.div, { format: "svg", filename: plot.figure.id });
    });
  }
}

// Printed pages have nothing folded away.
let closed = [];
addEventListener("beforeprint", () => {
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
