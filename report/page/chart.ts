/**
 * The one module that draws. A picture is an SVG made by ECharts on the server side, in the light palette; in HTML its
 * colours become CSS variables, so that one picture serves light and dark.
 */
import { init } from "echarts";
import { escapeHtml, formatNumber } from "../format";

export interface Axis {
  /** Title with its unit: "TTFT (ms)". */
  title: string;
  scale?: "linear" | "log";
  min?: number;
  max?: number;
  /** Values that get a tick, e.g. the levels that were measured. */
  ticks?: number[];
  /** Counts: no ticks between whole numbers. */
  whole?: boolean;
  /** Names instead of numbers; x values are then indices. */
  categories?: string[];
  format?: (value: number) => string;
}

export interface Series {
  name: string;
  /** [x, y]; a null y breaks the line. */
  points: (readonly [number, number | null])[];
  /** `spans`: single thin lines, broken by null; `range`: the same, thick and pale (a spread around a value). */
  kind?: "line" | "step" | "scatter" | "bar" | "area" | "spans" | "range";
  /** Index into the palette; by default the series' number. Series that belong together share one. */
  color?: number;
  dash?: "solid" | "dashed" | "dotted";
  /** Drawn against the right-hand axis. */
  right?: boolean;
  /** Bars and areas with the same name are stacked. */
  stack?: string;
  /** Text at single points. */
  labels?: string[];
  symbols?: boolean;
}

export interface Panel {
  x: Axis;
  y: Axis;
  right?: Axis;
  series: Series[];
  /** Height of the plotting area, px. */
  height?: number;
  /** Vertical marks: [x, text]. */
  marks?: [number, string][];
  /** Horizontal limits: [y, text]. */
  limits?: [number, string][];
}

export interface ChartSpec {
  /** Stem of the PNG file; also keeps ids apart when several pictures stand in one page. */
  name: string;
  title: string;
  /** What the picture shows, for those who cannot see it. */
  alt: string;
  panels: Panel[];
  width?: number;
}

export interface Picture {
  name: string;
  title: string;
  alt: string;
  width: number;
  height: number;
  /** Self-contained SVG in the light palette. */
  svg: string;
}

/** Light and dark value of every colour that a picture uses. The series colours keep apart for colour-blind readers. */
const colors = {
  ink: ["#1f2328", "#e6edf3"],
  muted: ["#59636e", "#9198a1"],
  grid: ["#dfe3e8", "#30363d"],
  paper: ["#fffffe", "#0d1117"],
  series0: ["#0969da", "#4493f8"],
  series1: ["#bc4c00", "#f0883e"],
  series2: ["#1a7f37", "#3fb950"],
  series3: ["#8250df", "#ab7df8"],
  series4: ["#0f7b83", "#39c5cf"],
  series5: ["#9a6700", "#d29922"],
  series6: ["#6e7781", "#8b949e"],
  series7: ["#cf222e", "#f85149"],
} as const;
type ColorName = keyof typeof colors;
const seriesColors = Object.keys(colors).filter((name) => name.startsWith("series")) as ColorName[];
const light = (name: ColorName): string => colors[name][0];
const paletteColor = (index: number): string => light(seriesColors[index % seriesColors.length] as ColorName);

/** Series colours with one meaning in every picture: what was asked for, and failures (the last: rarely used by number). */
export const scheduledColor = 6;
export const failureColor = 7;

/** Arimo has the widths of Arial and Helvetica, which ECharts lays its text out for. */
export const fontFamily = "Arimo, Arial, Helvetica, sans-serif";

const titleHeight = 34;
const legendLine = 14;
/** Between items of a legend, and between its rows. */
const legendGap = 18;
const axisHeight = 46;
const symbolShapes = ["circle", "rect", "triangle", "diamond", "roundRect", "emptyCircle"];

/** Width of a text of 12 px in Arimo, rounded up to three kinds of letters: narrow, wide and the rest. */
function textWidth(text: string): number {
  return [...text].reduce(
    (width, letter) => width + (/[ijltfr.,:;'|()[\] ]/.test(letter) ? 4 : /[mwA-Z%]/.test(letter) ? 10 : 7),
    0,
  );
}

/** Rows that a legend of these names takes in a picture of this width. */
function legendRows(names: string[], width: number): number {
  let rows = 1;
  let used = 0;
  for (const name of names) {
    const needed = textWidth(name) + 28 + legendGap;
    if (used > 0 && used + needed > width) {
      rows++;
      used = 0;
    }
    used += needed;
  }
  return rows;
}

function echartsAxis(axis: Axis, gridIndex: number, side: "x" | "y" | "right") {
  const text = { color: light("muted"), fontFamily, fontSize: 12 };
  const horizontal = side === "x";
  const log = axis.scale === "log";
  return {
    gridIndex,
    type: axis.categories ? "category" : log ? "log" : "value",
    ...(axis.categories ? { data: axis.categories } : {}),
    ...(log ? { logBase: horizontal && axis.ticks ? 2 : 10 } : {}),
    ...(axis.whole ? { minInterval: 1 } : {}),
    name: axis.title,
    nameLocation: "middle",
    nameGap: horizontal ? 28 : side === "right" ? 46 : 62,
    nameTextStyle: { ...text, color: light("ink") },
    ...(axis.min === undefined ? {} : { min: axis.min }),
    ...(axis.max === undefined ? {} : { max: axis.max }),
    ...(side === "right" ? { position: "right" } : {}),
    scale: horizontal,
    axisLine: { show: horizontal, lineStyle: { color: light("muted") }, onZero: false },
    axisTick: {
      show: horizontal,
      lineStyle: { color: light("muted") },
      ...(axis.ticks ? { customValues: axis.ticks } : {}),
    },
    minorTick: { show: false },
    splitLine: { show: side === "y", lineStyle: { color: light("grid"), width: 1 } },
    axisLabel: {
      ...text,
      hideOverlap: true,
      ...(axis.ticks ? { customValues: axis.ticks } : {}),
      ...(axis.categories ? {} : { formatter: axis.format ?? ((value: number) => tickText(value)) }),
    },
  };
}

/** Ticks from a million on are short, so that they fit beside the axis. */
function tickText(value: number): string {
  if (Math.abs(value) >= 1e6) return `${trimZeros(formatNumber(value / 1e6))} M`;
  return value === 0 ? "0" : trimZeros(formatNumber(value));
}

const trimZeros = (text: string): string => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

/** Points of a line are marked unless there are too many; bars and scattered points are their own marks. */
function hasSymbols({ kind = "line", symbols, points }: Series): boolean {
  if (kind === "bar" || kind === "scatter") return true;
  return symbols ?? (kind === "line" && points.length <= 60);
}

function echartsSeries(series: Series, index: number, axes: { x: number; y: number }) {
  const color = paletteColor(series.color ?? index);
  const kind = series.kind ?? "line";
  const common = {
    name: series.name,
    xAxisIndex: axes.x,
    yAxisIndex: axes.y,
    data: series.points.map(([x, y]) => [x, y]),
    itemStyle: { color },
    ...(series.stack ? { stack: series.stack } : {}),
    ...(series.labels
      ? {
          label: {
            show: true,
            position: "top",
            color: light("muted"),
            fontFamily,
            fontSize: 11,
            formatter: ({ dataIndex }: { dataIndex: number }) => series.labels?.[dataIndex] ?? "",
          },
          labelLayout: { hideOverlap: true },
        }
      : {}),
  };
  if (kind === "bar") return { ...common, type: "bar", barMaxWidth: 56 };
  if (kind === "scatter") return { ...common, type: "scatter", symbolSize: 5, itemStyle: { color, opacity: 0.6 } };
  const showSymbol = hasSymbols(series);
  const widths: Partial<Record<NonNullable<Series["kind"]>, number>> = { spans: 1.5, range: 9, area: 0 };
  return {
    ...common,
    type: "line",
    ...(kind === "step" ? { step: "end" } : {}),
    // Without symbols in the plot there shall be none in the legend.
    symbol: showSymbol ? symbolShapes[index % symbolShapes.length] : "none",
    symbolSize: 6,
    showSymbol,
    showAllSymbol: true,
    lineStyle: {
      color,
      width: widths[kind] ?? 2,
      // More series than colours: the second round is dashed.
      type: series.dash ?? (index < seriesColors.length ? "solid" : "dashed"),
      ...(kind === "range" ? { opacity: 0.3 } : {}),
    },
    ...(kind === "area" ? { areaStyle: { color, opacity: 0.5 } } : {}),
    connectNulls: false,
    silent: true,
  };
}

function markings(panel: Panel) {
  const text = { color: light("muted"), fontFamily, fontSize: 11 };
  const data = [
    ...(panel.marks ?? []).map(([x, words]) => ({
      xAxis: x,
      label: { formatter: words, position: "end", rotate: 0, ...text },
    })),
    ...(panel.limits ?? []).map(([y, words]) => ({
      yAxis: y,
      label: { formatter: words, position: "insideStartTop", ...text },
    })),
  ];
  if (data.length === 0) return {};
  return {
    markLine: { symbol: "none", silent: true, lineStyle: { color: light("muted"), type: "dashed", width: 1 }, data },
  };
}

/** Draws a picture of one or more panels under each other, 830 px wide unless told: a README's width. */
export function draw(spec: ChartSpec): Picture {
  const width = spec.width ?? 830;
  const grids: object[] = [];
  const xAxes: object[] = [];
  const yAxes: object[] = [];
  const seriesOptions: object[] = [];
  const legends: object[] = [];
  let top = titleHeight;
  // One right margin for all panels, so that their x axes stand under each other.
  const right = spec.panels.some((panel) => panel.right) ? 74 : 28;
  for (const [panelIndex, panel] of spec.panels.entries()) {
    const plotHeight = panel.height ?? 250;
    const names = [...new Set(panel.series.map(({ name }) => name))];
    const showLegend = names.length > 1;
    if (showLegend) {
      legends.push({
        top,
        left: 8,
        right: 8,
        itemGap: legendGap,
        itemWidth: 22,
        itemHeight: 10,
        textStyle: { color: light("ink"), fontFamily, fontSize: 12 },
        // A legend matches series by name; the invisible prefix keeps panels apart.
        data: names.map((name) => {
          const series = panel.series.find((each) => each.name === name) as Series;
          // ECharts puts a symbol into the legend of lines that have none.
          const plain = hasSymbols(series) ? {} : { itemStyle: { opacity: 0 } };
          return { name: panelName(panelIndex, name), ...(series.kind === "area" ? { icon: "roundRect" } : plain) };
        }),
        formatter: (name: string) => name.replaceAll("\u2063", ""),
      });
      top += legendRows(names, width - 16) * (legendLine + legendGap) - legendGap + 14;
    } else {
      top += 6;
    }
    grids.push({ left: 88, right, top: top + 6, height: plotHeight, outerBoundsMode: "none" });
    const yIndex = yAxes.length;
    xAxes.push(echartsAxis(panel.x, panelIndex, "x"));
    yAxes.push(echartsAxis(panel.y, panelIndex, "y"));
    if (panel.right) yAxes.push(echartsAxis(panel.right, panelIndex, "right"));
    for (const [index, series] of panel.series.entries()) {
      const axes = { x: panelIndex, y: series.right ? yIndex + 1 : yIndex };
      const option = echartsSeries({ ...series, name: panelName(panelIndex, series.name) }, index, axes);
      seriesOptions.push({ ...option, ...(index === 0 ? markings(panel) : {}) });
    }
    top += plotHeight + axisHeight + 10;
  }
  const height = Math.round(top);
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: light("paper"),
      textStyle: { fontFamily },
      title: {
        text: spec.title,
        left: 8,
        top: 8,
        textStyle: { color: light("ink"), fontFamily, fontSize: 15, fontWeight: "bold" },
      },
      legend: legends,
      grid: grids,
      xAxis: xAxes,
      yAxis: yAxes,
      series: seriesOptions,
    } as Parameters<typeof chart.setOption>[0]);
    return {
      name: spec.name,
      title: spec.title,
      alt: spec.alt,
      width,
      height,
      svg: ownIds(chart.renderToSVGString(), spec.name),
    };
  } finally {
    chart.dispose(); // else ECharts keeps Node alive
  }
}

const panelName = (panel: number, name: string): string => "\u2063".repeat(panel) + name;

/**
 * ECharts numbers its ids by process; named after the picture, the same data gives the same bytes. Its style block, the
 * classes for it and the ecmeta attributes serve hovering only, which these pictures do not do.
 */
function ownIds(svg: string, name: string): string {
  return (
    svg
      .replace(/<style[\s\S]*?<\/style>/g, "")
      // Boxes around title and legend, without fill and without a line.
      .replace(/<path [^>]*fill-opacity="0"[^>]* stroke-width="0"[^>]*><\/path>\n?/g, "")
      .replace(/ (class|ecmeta_\w+|pointer-events)="[^"]*"/g, "")
      .replace(/\bzr\d+-/g, `${name}-`)
      .replaceAll("\u2063", "")
  );
}

const variable = (name: ColorName): string => `var(--chart-${name})`;

/** The picture as inline SVG whose colours follow the page's scheme. */
export function pictureHtml(picture: Picture): string {
  let svg = picture.svg.replace(/^<\?xml[^>]*\?>/, "");
  for (const name of Object.keys(colors) as ColorName[]) svg = svg.replaceAll(light(name), variable(name));
  svg = svg.replace(/^<svg[^>]*>/, () => {
    const box = `viewBox="0 0 ${picture.width} ${picture.height}"`;
    return `<svg xmlns="http://www.w3.org/2000/svg" ${box} width="100%" role="img" aria-label="${escapeHtml(picture.alt)}">`;
  });
  return `<figure id="picture-${escapeHtml(picture.name)}" style="max-width:${picture.width}px">${svg}</figure>`;
}

/** CSS that gives the variables their values: light, or dark where the reader's system asks for it (not in print). */
export function chartCss(): string {
  const values = (scheme: 0 | 1) =>
    (Object.keys(colors) as ColorName[]).map((name) => `--chart-${name}:${colors[name][scheme]}`).join(";");
  return `:root{${values(0)}}\n@media screen and (prefers-color-scheme:dark){:root{${values(1)}}}`;
}

/** Axis of measured levels: on a log scale when they span a factor of sixteen or more, ticks at the levels themselves. */
export function levelAxis(title: string, values: number[]): Axis {
  const ticks = [...new Set(values)].sort((a, b) => a - b);
  const low = ticks[0] ?? 1;
  const high = ticks.at(-1) ?? 1;
  const spread = low > 0 && high / low >= 16;
  return spread
    ? { title, scale: "log", ticks, min: low, max: high }
    : { title, ticks, min: Math.min(low, high > 10 ? 0 : low), max: high };
}
