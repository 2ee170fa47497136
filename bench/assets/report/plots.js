// Draws the options that follow each .plot, in the colours of the reader's scheme, again when the
// scheme or the width changes. The options name units; how a unit is written is decided here.
"use strict";
(() => {
  const digits = (value) => {
    const size = Math.abs(value);
    return size === 0 ? "0" : Number(value.toPrecision(size >= 100 ? 4 : 3)).toString();
  };
  const scaled = (steps) => (value) => {
    const [factor, name] = steps.find(([factor]) => Math.abs(value) >= factor) ?? steps.at(-1);
    return digits(value / factor) + name;
  };
  const time = scaled([[1e9, " s"], [1e6, " ms"], [1e3, " µs"], [1, " ns"]]);
  const write = {
    ns: time,
    ns_per_byte: (value) => digits(value * 1e3) + " ms",
    rate: scaled([[1e6, " M/s"], [1e3, " k/s"], [1, "/s"]]),
    bytes_rate: (value) => digits(value / 1e9) + " GB/s",
    bytes: scaled([[2 ** 30, " GiB"], [2 ** 20, " MiB"], [1024, " KiB"], [1, " B"]]),
    share: (value) => digits(value * 100) + " %",
    seconds: (value) => digits(value) + " s",
    number: digits,
    nines: (value) => "p" + (value <= 1 ? 0 : Number((100 * (1 - 1 / value)).toPrecision(10))),
  };
  const schemes = {
    light: { text: "#1f2328", quiet: "#59636e", line: "#d8dee4", card: "#ffffff", other: "#a9b4c0",
      colors: ["#2f6fd0", "#d9622b", "#2a8f6a", "#a24bb0", "#b08a00", "#5a6b7b"] },
    dark: { text: "#e6edf3", quiet: "#9aa4af", line: "#30363d", card: "#151b23", other: "#56616d",
      colors: ["#6ea8fe", "#ff9a5c", "#5cc79b", "#d38be0", "#e0b93a", "#a3b1bf"] },
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Steps of bytes are powers of two, so that they are written with few digits.
  const binary = (most, steps) => {
    const interval = 2 ** Math.ceil(Math.log2(Math.max(most, 1) / steps));
    return { interval, max: Math.ceil(Math.max(most, 1) / interval) * interval };
  };
  const last = (value) => (Array.isArray(value) ? value.at(-1) : value);

  const axis = (given, scheme, narrow, across, most) => ({
    ...given,
    nameLocation: "middle",
    nameGap: across ? 28 : 52,
    nameTextStyle: { color: scheme.quiet },
    axisLine: { lineStyle: { color: scheme.line } },
    splitLine: { show: given.type !== "category", lineStyle: { color: scheme.line, opacity: 0.7 } },
    splitNumber: narrow && given.type !== "log" ? 3 : 5,
    ...(given.unit === "bytes" && given.type === "value" && binary(most, narrow ? 3 : 5)),
    axisTick: { show: false },
    axisLabel: {
      color: scheme.quiet,
      hideOverlap: true,
      ...(given.type === "category" && {
        width: narrow ? 130 : 240, overflow: "break", fontSize: narrow ? 10 : 12, lineHeight: narrow ? 11 : 13,
      }),
      ...(given.unit && { formatter: write[given.unit] }),
    },
    axisPointer: { label: { formatter: ({ value }) => (given.unit ? write[given.unit](+value) : value) } },
  });

  const dressed = (given, scheme, narrow) => {
    const category = given.yAxis.type === "category";
    const figure = category ? given.xAxis.unit : given.yAxis.unit;
    const shown = write[figure] ?? String;
    // Of figures, wherever they are on an axis of their own: bars have numbers, lines have points.
    const most = Math.max(0, ...given.series.flatMap((one) => one.data
      .map((value) => Number(category && Array.isArray(value) ? value[0] : last(value))))
      .filter(Number.isFinite));
    const labelled = given.series.some((one) => one.markLine?.labelled);
    const item = ({ seriesName, value }) =>
      `${seriesName}<br>${write[given.xAxis.unit](value[0])}: <b>${shown(value[1])}</b>`;
    return {
      ...given,
      animation: false,
      color: scheme.colors,
      textStyle: { fontFamily: "system-ui, sans-serif", color: scheme.text },
      grid: { left: 8, right: category ? 28 : 22, top: given.legend ? (labelled ? 58 : 44) : 14, bottom: given.xAxis.name ? 26 : 6, containLabel: true },
      ...(given.legend && {
        legend: { type: "scroll", top: 0, left: 0, right: 0, textStyle: { color: scheme.text },
          pageTextStyle: { color: scheme.text }, itemWidth: 18, itemHeight: 10 },
      }),
      tooltip: {
        ...given.tooltip, confine: true, backgroundColor: scheme.card, borderColor: scheme.line,
        textStyle: { color: scheme.text },
        valueFormatter: (value) => (value == null ? "-" : shown(Array.isArray(value) ? value.at(-1) : value)),
        ...(given.tooltip.trigger === "item" && { formatter: item }),
      },
      xAxis: axis(given.xAxis, scheme, narrow, true, most),
      yAxis: axis(given.yAxis, scheme, narrow, false, most),
      series: given.series.map((one) => ({
        ...one,
        ...(one.type === "line" && { lineStyle: { width: 2 } }),
        ...(one.subject && { data: stressed(one, given.yAxis.data, scheme) }),
        ...(one.markLine && { markLine: marks(one.markLine, scheme) }),
      })),
    };
  };

  // The bar of the subject stands out from those it is compared with.
  const stressed = (one, names, scheme) => one.data.map((value, index) => ({
    value, itemStyle: { color: names[index] === one.subject ? scheme.colors[0] : scheme.other },
  }));

  const marks = (given, scheme) => ({
    ...given,
    lineStyle: given.whiskers
      ? { color: scheme.text, width: 1.5, type: "solid" }
      : { color: scheme.quiet, width: 1.5, type: "dashed" },
    label: given.whiskers || given.unlabelled
      ? { show: false }
      : { formatter: "{b}", color: scheme.text, position: "end", rotate: 0, distance: 4 },
    emphasis: { disabled: true },
  });

  const plots = [...document.querySelectorAll(".plot")].map((place) => ({
    place,
    option: JSON.parse(place.nextElementSibling.textContent),
    chart: null,
  }));
  const draw = (plot) => {
    plot.chart ??= echarts.init(plot.place);
    const narrow = plot.place.clientWidth < 480;
    plot.chart.resize();
    plot.chart.setOption(dressed(plot.option, schemes[dark.matches ? "dark" : "light"], narrow), true);
  };
  const all = () => plots.forEach(draw);
  dark.addEventListener("change", all);
  addEventListener("resize", all);
  all();
})();
