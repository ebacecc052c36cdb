// Curves that zoom, beside the pictures that are always there: without this script, or in print, the page lacks nothing.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const place = document.getElementById("zoom");
  const select = place.querySelector("select"), told = place.querySelector("output"), plot = place.querySelector(".plot");
  if (typeof Dygraph === "undefined" || !data.budgets.some(b => b.arms.length > 0)) return;
  // Its legend writes styles into attributes, which the page's policy forbids; what is under the pointer stands in `told`.
  Dygraph.PLUGINS = Dygraph.PLUGINS.filter(p => p !== Dygraph.Plugins.Legend);

  // A row for every x that any arm has: [x, [low, mean, high] or null ...].
  function rowsOf(arms) {
    const rows = new Map();
    arms.forEach((arm, i) => arm.x.forEach((x, k) => {
      if (!rows.has(x)) rows.set(x, [x].concat(arms.map(() => null)));
      rows.get(x)[i + 1] = [arm.low[k], arm.mean[k], arm.high[k]];
    }));
    return Array.from(rows.values()).sort((a, b) => a[0] - b[0]);
  }

  const short = x => {
    for (const [unit, name] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "K"]])
      if (Math.abs(x) >= unit) return Number((x / unit).toPrecision(4)) + " " + name;
    return String(Number(x.toPrecision(4)));
  };

  let graph = null;
  function draw() {
    const budget = data.budgets[select.selectedIndex];
    const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name).trim();
    if (graph) graph.destroy();
    told.textContent = "";
    graph = new Dygraph(plot, rowsOf(budget.arms), {
      labels: [budget.label].concat(budget.arms.map(a => a.name)),
      colors: budget.arms.map(a => colour("--c" + a.colour)),
      customBars: true, connectSeparatedPoints: true, legend: "never", strokeWidth: 2, fillAlpha: 0.22,
      drawPoints: true, pointSize: 2, highlightCircleSize: 4,
      axisLineColor: colour("--soft"), gridLineColor: colour("--line"),
      xlabel: budget.label,
      axes: { x: { axisLabelFormatter: short, axisLabelWidth: 70 }, y: { axisLabelWidth: 50, valueRange: data.most === null ? null : [null, data.most] } },
      highlightCallback: (event, x, points) => {
        told.textContent = short(x) + ": " + points.map(p => p.name + " " + p.yval.toFixed(4)).join(", ");
      },
      unhighlightCallback: () => { told.textContent = ""; },
    });
  }

  place.querySelector(".unit").textContent = data.unit;
  for (const budget of data.budgets) select.add(new Option(budget.name));
  place.hidden = false;
  select.addEventListener("change", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
