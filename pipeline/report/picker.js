// Draw the networks of every search, and show the choices of the one that is picked.

const percent = { format: ".1%" };

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function config() {
  const text = { labelColor: colour("ink"), titleColor: colour("ink") };
  return {
    background: null,
    font: "system-ui, sans-serif",
    axis: { ...text, gridColor: colour("grid"), domainColor: colour("muted"), tickColor: colour("muted") },
    legend: text,
    view: { stroke: null },
    range: { category: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => colour(`series-${i}`)) },
  };
}

function front(found, cost) {
  const x = {
    field: cost.key, type: "quantitative", title: cost.title,
    scale: cost.log ? { type: "log" } : { zero: false }, axis: { format: "~s", tickCount: 6, labelOverlap: true },
  };
  const y = {
    field: "score", type: "quantitative", title: `Validation ${found.title}`,
    scale: { zero: false }, axis: percent,
  };
  const tooltip = [
    { field: "id", title: "trial" }, { field: "family" }, { field: "score", format: ".2%", title: found.title },
    ...found.costs.map(({ key, title }) => ({ field: key, title, format: ",.4~r" })),
  ];
  const layer = [
    {
      transform: [{ filter: "datum.front" }],
      mark: { type: "line", interpolate: "step-after", color: colour("muted") },
      encoding: { x, y, order: { field: cost.key } },
    },
    {
      transform: [{ filter: "datum.winner" }],
      mark: { type: "point", size: 320, strokeWidth: 2, color: colour("ink"), tooltip: null },
      encoding: { x, y },
    },
    {
      params: [{ name: "picked", select: { type: "point", fields: ["id"] } }],
      mark: { type: "point", filled: true, size: 90, opacity: 0.9, cursor: "pointer" },
      encoding: {
        x, y, tooltip,
        color: { field: "family", type: "nominal", title: null, legend: { orient: "top" } },
        shape: { field: "family", type: "nominal", title: null },
        size: { condition: { param: "picked", empty: false, value: 240 }, value: 90 },
      },
    },
  ];
  if (cost.key in found.budget) {
    layer.push({
      data: { values: [{ most: found.budget[cost.key] }] },
      mark: { type: "rule", strokeDash: [6, 4], color: colour("ink"), tooltip: "budget" },
      encoding: { x: { ...x, field: "most" } },
    });
  }
  return { layer, data: { values: found.points }, height: 300 };
}

function parallel(found) {
  const x = {
    field: "axis", type: "nominal", sort: null, title: null, scale: { type: "point", padding: 0.4 },
    axis: { labelAngle: -20, domain: false, grid: true, orient: "bottom" },
  };
  return {
    data: { values: found.parallel },
    height: 260,
    params: [{ name: "over", select: { type: "point", fields: ["id"], on: "pointerover", clear: "pointerout" } }],
    mark: { type: "line", point: { filled: true, size: 40 }, interpolate: "monotone" },
    encoding: {
      x,
      y: { field: "place", type: "quantitative", axis: null },
      detail: { field: "id" },
      color: { field: "score", type: "quantitative", title: found.title, scale: { scheme: "viridis" }, legend: percent },
      opacity: { condition: { param: "over", empty: true, value: 0.75 }, value: 0.12 },
      tooltip: [{ field: "id", title: "trial" }, { field: "axis" }, { field: "value" }, { field: "score", format: ".2%" }],
    },
  };
}

async function draw(place, spec) {
  const options = { actions: false, renderer: "svg", ast: true };
  const whole = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: "container", ...spec, config: config() };
  const { view } = await window.drawVega(place, whole, options);
  return view;
}

function list(point, found) {
  const rows = [[found.title, (100 * point.score).toFixed(2) + "%"]];
  for (const { key, title } of found.costs) {
    if (point[key] != null) rows.push([title, point[key].toLocaleString("en", { maximumFractionDigits: 4 })]);
  }
  rows.push(...Object.entries(point.choices));
  return rows.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    [term.textContent, text.textContent] = [name, value];
    return [term, text];
  });
}

function start(section) {
  const found = JSON.parse(section.querySelector("script[type='application/json']").textContent);
  const [network, cost] = ["network", "cost"].map((name) => section.querySelector(`select[name=${name}]`));
  const show = () => {
    const point = found.points.find(({ id }) => id === network.value);
    section.querySelector("dl").replaceChildren(...list(point, found));
  };
  const redraw = async () => {
    const chosen = found.costs.find(({ key }) => key === cost.value);
    const view = await draw(section.querySelector(".front"), front(found, chosen));
    view.addEventListener("click", (_, item) => {
      if (!item?.datum?.choices) return;
      network.value = item.datum.id;
      show();
    });
    if (found.parallel.length) await draw(section.querySelector(".parallel"), parallel(found));
    section.dataset.drawn = "yes";
  };
  network.addEventListener("change", show);
  cost.addEventListener("change", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  show();
  return redraw();
}

for (const section of document.querySelectorAll(".picker")) {
  section.hidden = false;
  start(section).catch((error) => {
    section.querySelector(".front").textContent = `The plot cannot be drawn: ${error.message}`;
  });
}
