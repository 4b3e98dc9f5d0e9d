// The curve of a run: loss and dev accuracy, asked for again until the run has ended.

(() => {
  const box = document.getElementById("curve");
  if (!box || !window.uPlot) return;
  const plot = box.querySelector(".curve-plot");
  const state = box.querySelector(".curve-state");
  const HEIGHT = 260;
  const PAUSE = 1500;
  const PAUSE_AFTER_ERROR = 5000;
  let chart = null;
  let latest = null;

  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const percent = (value) => (value == null ? "–" : `${(value * 100).toFixed(1)}%`);
  const number = (value) => (value == null ? "–" : value.toFixed(3));

  function options(width, hasAccuracy) {
    const axis = { stroke: token("--ink-soft"), grid: { stroke: token("--line"), width: 1 }, ticks: { show: false } };
    const lone = (series, index, place) => {
      // A value alone between gaps is drawn as a dot, or it would not be seen.
      return series.data[index][place] != null;
    };
    return {
      width,
      height: HEIGHT,
      scales: { x: { time: false }, accuracy: { range: [0, 1] } },
      axes: [
        { ...axis, label: box.dataset.step, labelSize: 18, size: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000] },
        { ...axis, scale: "loss", label: box.dataset.loss, labelSize: 18, size: 54 },
        { ...axis, scale: "accuracy", side: 1, show: hasAccuracy, grid: { show: false }, label: box.dataset.accuracy, labelSize: 18, size: 54, values: (_, ticks) => ticks.map((tick) => `${Math.round(tick * 100)}%`) },
      ],
      series: [
        { label: box.dataset.step },
        { label: box.dataset.loss, scale: "loss", stroke: token("--ink-soft"), width: 1.5, spanGaps: true, points: { show: false }, value: (_, value) => number(value) },
        { label: box.dataset.accuracy, scale: "accuracy", stroke: token("--accent"), width: 2, spanGaps: true, points: { show: true, size: 6, filter: (series, index, show) => (show ? [...series.data[index].keys()].filter((place) => lone(series, index, place)) : null) }, value: (_, value) => percent(value) },
      ],
    };
  }

  function draw(series) {
    const measured = series.loss.some((value) => value != null) || series.dev_accuracy.some((value) => value != null);
    if (series.step.length < 2 || !measured) return false;
    latest = series;
    const width = plot.clientWidth;
    if (!width) return true;
    const hasAccuracy = series.dev_accuracy.some((value) => value != null);
    const data = [series.step, series.loss, series.dev_accuracy];
    if (chart && chart.hasAccuracy === hasAccuracy) {
      chart.setData(data);
    } else {
      if (chart) chart.destroy();
      chart = new window.uPlot(options(width, hasAccuracy), data, plot);
      chart.hasAccuracy = hasAccuracy;
    }
    state.hidden = true;
    return true;
  }

  function redraw() {
    if (chart) chart.destroy();
    chart = null;
    if (latest) draw(latest);
  }

  async function ask() {
    if (document.hidden) {
      setTimeout(ask, PAUSE);
      return;
    }
    try {
      const response = await fetch(box.dataset.liveUrl, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(String(response.status));
      const answer = await response.json();
      draw(answer.series);
      if (!answer.finished) setTimeout(ask, PAUSE);
    } catch {
      state.hidden = false;
      state.textContent = box.dataset.lost;
      setTimeout(ask, PAUSE_AFTER_ERROR);
    }
  }

  let width = 0;
  new ResizeObserver(() => {
    if (plot.clientWidth && plot.clientWidth !== width) {
      width = plot.clientWidth;
      redraw();
    }
  }).observe(plot);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  ask();
})();
