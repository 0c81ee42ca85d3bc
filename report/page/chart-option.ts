/**
 * The one description of a chart, and the ECharts options that draw it: for the still pictures of files and of pages without
 * scripts, and for the live ones of a page. Pure; the page's own script is bundled from it.
 */
import { formatNumber } from "../format";
import { type Box, labelSides, type Place, roomInRow, type Side } from "./label-places";

export interface Axis {
  /** Title with its unit: "TTFT (ms)". */
  title: string;
  /** `nines`: x is -log10(1 - share), so that 90, 99 and 99.9 % stand at equal distances. */
  scale?: "linear" | "log" | "nines";
  min?: number;
  max?: number;
  /** Values that get a tick, e.g. the levels that were measured. */
  ticks?: number[];
  /** Names instead of numbers; x values are then indices. */
  categories?: string[];
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
  /** Text at single points; `quiet`: only where they are hovered over. */
  labels?: string[];
  quiet?: boolean;
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
  /** Charts of one group share their x axis: hovering and zooming one does so with all. */
  group?: string;
  /** What a point shows when it is hovered over beside x and y, by series and point. */
  hover?: "x" | "y" | "point";
  /** Only in the page, not as a PNG file. */
  pageOnly?: boolean;
}

/** Light and dark value of every colour that a picture uses. The series colours keep apart for colour-blind readers. */
export const colors = {
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
export type ColorName = keyof typeof colors;
const seriesColors = Object.keys(colors).filter((name) => name.startsWith("series")) as ColorName[];

/** 0: light, 1: dark. */
export type Scheme = 0 | 1;
const paletteColor = (index: number, scheme: Scheme): string =>
  colors[seriesColors[index % seriesColors.length] as ColorName][scheme];

/** Series colours with one meaning in every picture: what was scheduled, and failures (the last: rarely used by number). */
export const scheduledColor = 6;
export const failureColor = 7;

/** Arimo has the widths of Arial and Helvetica, which ECharts lays its text out for. */
export const fontFamily = "Arimo, Arial, Helvetica, sans-serif";

export const titleHeight = 34;
export const legendLine = 14;
/** Between items of a legend, and between its rows. */
export const legendGap = 18;
export const axisHeight = 46;
const symbolShapes = ["circle", "rect", "triangle", "diamond", "roundRect", "emptyCircle"];

/** Width of a text of 12 px in Arimo, rounded up to three kinds of letters: narrow, wide and the rest. */
function textWidth(text: string): number {
  return [...text].reduce(
    (width, letter) => width + (/[ijltfr.,:;'|()[\] ]/.test(letter) ? 4 : /[mwA-Z%]/.test(letter) ? 10 : 7),
    0,
  );
}

/** Size of the texts at points and marks. */
const labelSize = 11;
const labelWidth = (text: string): number => (textWidth(text) * labelSize) / 12;

/** Rows that a legend of these names takes in a picture of this width. */
export function legendRows(names: string[], width: number): number {
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

/** How charts look where they are shown. */
interface Look {
  scheme: Scheme;
  /** On a phone: less room beside the plot. */
  narrow?: boolean;
}

type AxisSide = "x" | "y" | "right";

/**
 * Whether all values along an axis are whole, as counts are (turns, clients, requests): between whole numbers it has no ticks, for
 * there is no turn 1.5. Decided by the values, so that no axis can forget to say it.
 */
function isWhole({ series }: Panel, side: AxisSide): boolean {
  const values = series
    .filter(({ right = false }) => side === "x" || right === (side === "right"))
    .flatMap(({ points }) => points.flatMap(([x, y]) => (side === "x" ? x : (y ?? []))));
  return values.length > 0 && values.every(Number.isInteger);
}

function echartsAxis(panel: Panel, axis: Axis, gridIndex: number, side: AxisSide, look: Look) {
  const { scheme, narrow } = look;
  const text = { color: colors.muted[scheme], fontFamily, fontSize: 12 };
  const horizontal = side === "x";
  const log = axis.scale === "log";
  return {
    gridIndex,
    type: axis.categories ? "category" : log ? "log" : "value",
    ...(axis.categories ? { data: axis.categories } : {}),
    ...(log ? { logBase: horizontal && axis.ticks ? 2 : 10 } : {}),
    ...(isWhole(panel, side) ? { minInterval: 1 } : {}),
    name: axis.title,
    nameLocation: "middle",
    nameGap: horizontal ? 28 : side === "right" ? 46 : narrow ? 56 : 62,
    nameTextStyle: { ...text, color: colors.ink[scheme] },
    ...(axis.min === undefined ? {} : { min: axis.min }),
    ...(axis.max === undefined ? {} : { max: axis.max }),
    ...(side === "right" ? { position: "right" } : {}),
    scale: horizontal,
    axisLine: { show: horizontal, lineStyle: { color: colors.muted[scheme] }, onZero: false },
    axisTick: {
      show: horizontal,
      lineStyle: { color: colors.muted[scheme] },
      ...(axis.ticks ? { customValues: axis.ticks } : {}),
    },
    minorTick: { show: false },
    splitLine: { show: side === "y", lineStyle: { color: colors.grid[scheme], width: 1 } },
    axisLabel: {
      ...text,
      hideOverlap: true,
      // The last number of a narrow picture would end beyond it.
      ...(horizontal && narrow && !axis.categories ? { alignMaxLabel: "right" } : {}),
      ...(axis.ticks ? { customValues: axis.ticks } : {}),
      ...(axis.categories ? {} : { formatter: (value: number) => axisText(axis, value) }),
    },
  };
}

/** What a tooltip says of a place at which no series has a value. */
export const noValue = "no value";

/** A value of an axis as its ticks and tooltips show it. */
export function axisText(axis: Axis, value: number): string {
  if (axis.categories) return axis.categories[value] ?? "";
  return axis.scale === "nines" ? `p${trimZeros((100 - 100 / 10 ** value).toFixed(3))}` : tickText(value);
}

/** The place of a share (0..1) on an axis of nines. */
export const nines = (share: number): number => -Math.log10(1 - share);

/** Ticks from a million on are short, so that they fit beside the axis. */
function tickText(value: number): string {
  if (Math.abs(value) >= 1e6) return `${trimZeros(formatNumber(value / 1e6))} M`;
  return value === 0 ? "0" : trimZeros(formatNumber(value));
}

const trimZeros = (text: string): string => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

/** Points of a line are marked unless there are too many; bars and scattered points are their own marks. */
export function hasSymbols({ kind = "line", symbols, points }: Series): boolean {
  if (kind === "bar" || kind === "scatter") return true;
  return symbols ?? (kind === "line" && points.length <= 60);
}

/** How the line of a series is drawn. More series than colours: the second round is dashed. */
export function lineDash({ kind = "line", dash }: Series, index: number): NonNullable<Series["dash"]> {
  if (kind === "bar" || kind === "scatter") return "solid";
  return dash ?? (index < seriesColors.length ? "solid" : "dashed");
}

/** The points of a series as they are drawn: a log axis has no place for 0, as the gap between two tokens that came together. */
function drawnPoints({ points, right }: Series, panel: Panel): Series["points"] {
  const axis = right && panel.right ? panel.right : panel.y;
  return axis.scale === "log" ? points.map(([x, y]) => [x, y !== null && y > 0 ? y : null]) : points;
}

/** Whether the texts of a series stand beside its points, where there is room; those of bars stand on them. */
const isLabelled = ({ labels, quiet, kind }: Series): boolean => labels !== undefined && !quiet && kind !== "bar";

function echartsSeries(
  series: Series,
  index: number,
  axes: { x: number; y: number },
  { scheme }: Look,
  sides: readonly (Side | undefined)[] = [],
) {
  const color = paletteColor(series.color ?? index, scheme);
  const kind = series.kind ?? "line";
  const text = { color: colors.muted[scheme], fontFamily, fontSize: labelSize };
  const common = {
    name: series.name,
    xAxisIndex: axes.x,
    yAxisIndex: axes.y,
    data: series.points.map(([x, y], i) => {
      const position = sides[i];
      if (position === undefined) return [x, y];
      return { value: [x, y], label: { ...text, show: true, position, distance: 5, formatter: series.labels?.[i] } };
    }),
    itemStyle: { color },
    ...(series.stack ? { stack: series.stack } : {}),
    ...(series.labels && !series.quiet && kind === "bar"
      ? {
          label: {
            ...{ ...text, show: true, position: "top" },
            formatter: ({ dataIndex }: { dataIndex: number }) => series.labels?.[dataIndex] ?? "",
          },
          labelLayout: { hideOverlap: true },
        }
      : {}),
  };
  if (kind === "bar") return { ...common, type: "bar", barMaxWidth: 56 };
  // A cloud is made of small points that shine through; a few are to be seen one by one.
  const few = series.points.length <= 50;
  if (kind === "scatter")
    return { ...common, type: "scatter", symbolSize: few ? 9 : 5, itemStyle: { color, opacity: few ? 0.9 : 0.6 } };
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
      type: lineDash(series, index),
      ...(kind === "range" ? { opacity: 0.45 } : {}),
    },
    ...(kind === "area" ? { areaStyle: { color, opacity: 0.5 } } : {}),
    connectNulls: false,
    // Points show their values where they are pointed at; nothing else about a line changes then.
    silent: !showSymbol,
    emphasis: { disabled: true },
  };
}

function markings(panel: Panel, { scheme }: Look, aligns: readonly (MarkAlign | undefined)[] = []) {
  const text = { color: colors.muted[scheme], fontFamily, fontSize: labelSize };
  const data = [
    ...(panel.marks ?? []).map(([x, words], i) => ({
      xAxis: x,
      label: { show: aligns[i] !== undefined, align: aligns[i], formatter: words, position: "end", rotate: 0, ...text },
    })),
    ...(panel.limits ?? []).map(([y, words]) => ({
      yAxis: y,
      label: { formatter: words, position: "insideStartTop", ...text },
    })),
  ];
  if (data.length === 0) return {};
  return {
    markLine: {
      symbol: "none",
      silent: true,
      lineStyle: { color: colors.muted[scheme], type: "dashed", width: 1 },
      data,
    },
  };
}

/** Where the panels of a chart stand, px: each below its own place in `tops`. */
export interface PanelPlaces {
  readonly left: number;
  readonly right: number;
  readonly tops: readonly number[];
}

/** The texts that have room in a chart: the side of each point's by series, and by panel how the marks' ones stand. */
interface Texts {
  readonly sides: readonly (readonly (Side | undefined)[])[];
  readonly marks: readonly (readonly (MarkAlign | undefined)[])[];
}

/** Centred above its mark, or beginning or ending there, where an axis stands on one side. */
type MarkAlign = "center" | "left" | "right";

/** The panels of a chart as ECharts wants them; without `texts` none stands at points and marks. */
export function panelOptions(panels: readonly Panel[], look: Look, { left, right, tops }: PanelPlaces, texts?: Texts) {
  const xAxis: object[] = [];
  const yAxis: object[] = [];
  const series: object[] = [];
  const grid = panels.map((panel, i) => ({
    ...{ left, right, top: tops[i], height: plotHeight(panel), outerBoundsMode: "none" },
  }));
  for (const [panelIndex, panel] of panels.entries()) {
    const yIndex = yAxis.length;
    xAxis.push(echartsAxis(panel, panel.x, panelIndex, "x", look));
    yAxis.push(echartsAxis(panel, panel.y, panelIndex, "y", look));
    if (panel.right) yAxis.push(echartsAxis(panel, panel.right, panelIndex, "right", look));
    for (const [index, each] of panel.series.entries()) {
      const axes = { x: panelIndex, y: each.right ? yIndex + 1 : yIndex };
      const named = { ...each, name: panelName(panelIndex, each.name), points: drawnPoints(each, panel) };
      const option = echartsSeries(named, index, axes, look, texts?.sides[series.length]);
      series.push({ ...option, ...(index === 0 ? markings(panel, look, texts?.marks[panelIndex]) : {}) });
    }
  }
  return { grid, xAxis, yAxis, series };
}

/** What is asked of an ECharts chart to place texts: where its axes put a value. */
interface Drawing {
  convertToPixel(finder: { xAxisIndex: number; yAxisIndex: number }, value: [number, number]): number | number[];
  getWidth(): number;
}

/** The texts that have room in a chart which shows its panels already; undefined where it has none. */
export function placedTexts(
  chart: Drawing,
  panels: readonly Panel[],
  { left, right, tops }: PanelPlaces,
): Texts | undefined {
  if (!panels.some(({ marks = [], series }) => marks.length > 0 || series.some(isLabelled))) return undefined;
  const sides: (readonly (Side | undefined)[])[] = [];
  const aligned: (MarkAlign | undefined)[][] = [];
  let yAxes = 0;
  for (const [panelIndex, panel] of panels.entries()) {
    const { marks = [], limits = [] } = panel;
    const top = tops[panelIndex] ?? 0;
    const plot = { left, right: chart.getWidth() - right, top, bottom: top + plotHeight(panel) };
    // The numbers of an axis are further out than its line by 8 px.
    const area = { ...plot, left: left - 6, right: panel.right ? plot.right + 6 : chart.getWidth() - 4 };
    const yAxis = yAxes;
    yAxes += panel.right ? 2 : 1;
    const at = (value: [number, number], onRight = false): Place =>
      [chart.convertToPixel({ xAxisIndex: panelIndex, yAxisIndex: yAxis + (onRight ? 1 : 0) }, value)].flat() as [
        number,
        number,
      ];
    const beside = ([x, y]: Place): boolean => x < plot.left || x > plot.right || y < plot.top || y > plot.bottom;
    const someY = panel.series.flatMap(({ points }) => points.flatMap(([, y]) => y ?? []))[0] ?? 1;
    const markX = marks.map(([x]) => at([x, someY])[0]);
    const seen = markX.map((x) => x >= plot.left - 1 && x <= plot.right + 1);
    const aligns = marks.map(([, words], i): MarkAlign => {
      const half = labelWidth(words) / 2;
      const x = markX[i] as number;
      return x - half < plot.left - 4 ? "left" : x + half > plot.right + 4 ? "right" : "center";
    });
    const middle = { left: 0.5, center: 0, right: -0.5 };
    const room = roomInRow(
      marks.map(([, words], i) => {
        const width = seen[i] ? labelWidth(words) : 0;
        return { x: (markX[i] as number) + middle[aligns[i] as MarkAlign] * width, width };
      }),
    );
    aligned.push(aligns.map((align, i) => (room[i] ? align : undefined)));
    if (!panel.series.some(isLabelled)) {
      sides.push(...panel.series.map(() => []));
      continue;
    }
    // A limit's text stands above its line, at the left.
    const limitY = limits.map(([y]) => at([panel.series[0]?.points[0]?.[0] ?? 0, y])[1]);
    const texts = limits.map(([, words], i): Box => {
      const bottom = limitY[i] as number;
      return { left: plot.left, right: plot.left + labelWidth(words) + 6, top: bottom - 18, bottom };
    });
    const places = panel.series.map((series) =>
      drawnPoints(series, panel).map(([x, y]) => (y === null ? undefined : at([x, y], series.right))),
    );
    const labelled = panel.series.flatMap((series, s) =>
      isLabelled(series)
        ? (places[s] ?? []).flatMap((place, i) => {
            const width = labelWidth(series.labels?.[i] ?? "");
            return place && width > 0 && !beside(place) ? [{ s, i, at: place, width }] : [];
          })
        : [],
    );
    const found = labelSides({
      ...{ area, labels: labelled, texts },
      points: panel.series.flatMap((series, s) =>
        hasSymbols(series) ? (places[s] ?? []).flatMap((place) => (place ? [place] : [])) : [],
      ),
      lines: [
        ...panel.series.flatMap((series, s) => (isLine(series) ? segments(places[s] ?? []) : [])),
        ...markX.map((x): [Place, Place] => [
          [x, plot.top],
          [x, plot.bottom],
        ]),
        ...limitY.map((y): [Place, Place] => [
          [plot.left, y],
          [plot.right, y],
        ]),
      ],
    });
    for (const [s, { points }] of panel.series.entries())
      sides.push(points.map((_, i) => found[labelled.findIndex((each) => each.s === s && each.i === i)]));
  }
  return { sides, marks: aligned };
}

const isLine = ({ kind = "line" }: Series): boolean => kind !== "bar" && kind !== "scatter";

/** The parts of a line between points that follow one another. */
function segments(places: readonly (Place | undefined)[]): [Place, Place][] {
  return places.flatMap((to, i): [Place, Place][] => {
    const from = places[i - 1];
    return from && to ? [[from, to]] : [];
  });
}

export const plotHeight = ({ height = 250 }: Panel): number => height;

/** A legend matches series by name; the invisible prefix keeps panels apart. */
export const panelName = (panel: number, name: string): string => "\u2063".repeat(panel) + name;

/**
 * Axis of latencies: from 0, or on a log scale where the values (or their limits) spread so far that the small ones would lie on
 * the x axis. That begins and ends at the next 1, 2 or 5 of a power of ten, near the values: ECharts would add up to a whole power.
 */
export function latencyAxis(title: string, values: readonly number[], limits: readonly number[] = []): Axis {
  const low = leastAbove0(values);
  const high = greatestOf(values);
  if (!(high / low > 50)) return { title, min: 0 };
  return {
    ...{ title, scale: "log" },
    min: nice(Math.min(low, leastAbove0(limits)), "below"),
    max: nice(Math.max(high, greatestOf(limits)), "above"),
  };
}

const leastAbove0 = (values: readonly number[]): number =>
  values.reduce((least, value) => (value > 0 && value < least ? value : least), Number.POSITIVE_INFINITY);
const greatestOf = (values: readonly number[]): number => values.reduce((most, value) => Math.max(most, value), 0);

/** The 1, 2 or 5 of a power of ten that is next to a value above 0, on that side of it or equal. */
function nice(value: number, side: "below" | "above"): number {
  const power = Math.floor(Math.log10(value));
  const steps = [-1, 0, 1].flatMap((by) => [1, 2, 5].map((step) => Number(`${step}e${power + by}`)));
  return side === "below"
    ? (steps.filter((step) => step <= value).at(-1) ?? value)
    : (steps.find((step) => step >= value) ?? value);
}

/** Axis of things that are numbered from 1: ticks at the first and at round numbers, none at the room beyond the last. */
export function numberAxis(title: string, count: number): Axis {
  const step = Math.max(1, nice(count / 5, "above"));
  const round = Array.from({ length: Math.floor(count / step) }, (_, i) => step * (i + 1));
  return { title, min: 0, max: count + 1, ticks: [...new Set([1, ...round])] };
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
