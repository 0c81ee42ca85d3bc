/**
 * The page's own script: shows a live chart in place of each still picture, to hover, zoom and switch series by mouse, touch
 * and keyboard. Without it (scripts off, print) the still pictures stay. It asks nobody for anything.
 */
import { BarChart, LineChart, ScatterChart } from "echarts/charts";
import { DataZoomInsideComponent, GridComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { connect, type EChartsType, init, use } from "echarts/core";
import { LabelLayout } from "echarts/features";
import { SVGRenderer } from "echarts/renderers";
import {
  axisHeight,
  axisText,
  type ChartSpec,
  colors,
  fontFamily,
  lineDash,
  noValue,
  type Panel,
  type PanelPlaces,
  panelOptions,
  placedTexts,
  plotHeight,
  type Scheme,
  type Series,
} from "../chart-option";

use([
  ...[LineChart, ScatterChart, BarChart, GridComponent, TooltipComponent, MarkLineComponent, DataZoomInsideComponent],
  ...[LabelLayout, SVGRenderer],
]);

const dark = matchMedia("(prefers-color-scheme: dark)");
const scheme = (): Scheme => (dark.matches ? 1 : 0);

/** What ECharts tells a tooltip of a point. */
interface Hovered {
  seriesIndex: number;
  dataIndex: number;
  value: [number, number | null];
}

function element<K extends keyof HTMLElementTagNameMap>(tag: K, properties: Partial<HTMLElementTagNameMap[K]> = {}) {
  return Object.assign(document.createElement(tag), properties);
}

/** Text as markup. */
function escaped(text: string): string {
  return element("span", { textContent: text }).innerHTML;
}

/** Which panels are pointed at together: those that have an x axis of the same values. */
function linkedAxes(panels: readonly Panel[]): { xAxisIndex: number[] }[] {
  const titles = [...new Set(panels.map(({ x }) => x.title))];
  return titles.map((title) => ({ xAxisIndex: panels.flatMap(({ x }, i) => (x.title === title ? [i] : [])) }));
}

class LiveChart {
  readonly #plot = element("div", { className: "plot", tabIndex: 0 });
  readonly #announced = element("p", { className: "announced" });
  readonly #hidden = new Set<string>();
  #chart: EChartsType | undefined;
  #opened = () => {};
  /** The series that are drawn, with their panels, in ECharts' order. */
  #drawn: { panel: Panel; series: Series }[] = [];
  /** The part of the x axis that is seen, per cent. */
  #from = 0;
  #to = 100;
  #at = -1;

  constructor(
    private readonly figure: HTMLElement,
    private readonly spec: ChartSpec,
  ) {
    const caption = element("figcaption");
    caption.append(element("strong", { textContent: spec.title }), this.#tools());
    this.#plot.setAttribute("role", "img");
    this.#plot.setAttribute(
      "aria-label",
      `${spec.alt}. Arrow keys move along the values, + and - zoom, Escape shows all.`,
    );
    this.#plot.style.height = `${this.#height()}px`;
    this.#announced.setAttribute("aria-live", "polite");
    const live = element("div", { className: "live" });
    live.append(caption, this.#legend(), this.#plot, this.#announced);
    figure.append(live);
    figure.classList.add("is-live");
    this.#plot.addEventListener("keydown", (event) => this.#key(event));
    // What is seen first, the others while nothing else is to be done.
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) this.#open();
      },
      { rootMargin: "400px" },
    );
    observer.observe(this.#plot);
    const idle = window.requestIdleCallback ?? ((act: () => void) => setTimeout(act, 200));
    idle(() => this.#open());
    this.#opened = () => observer.disconnect();
  }

  #height(): number {
    return this.spec.panels.reduce((sum, panel) => sum + plotHeight(panel) + axisHeight + 26, 0);
  }

  #tools(): HTMLElement {
    const tools = element("span", { className: "tools" });
    for (const [text, title, act] of [
      ["+", "Zoom in", () => this.#zoom(0.5)],
      ["−", "Zoom out", () => this.#zoom(2)],
      ["⤢", "Show all", () => this.#show(0, 100)],
    ] as const) {
      const button = element("button", { type: "button", textContent: text, title, onclick: act });
      button.setAttribute("aria-label", `${title}: ${this.spec.title}`);
      tools.append(button);
    }
    return tools;
  }

  #legend(): HTMLElement {
    const legend = element("div", { className: "legend" });
    const seen = new Map<string, string>();
    for (const { series } of this.spec.panels)
      for (const [i, each] of series.entries())
        if (!seen.has(each.name))
          seen.set(each.name, `${lineDash(each, i)} var(--chart-series${(each.color ?? i) % 8})`);
    if (seen.size < 2) return legend;
    for (const [name, line] of seen) {
      const button = element("button", { type: "button" });
      const mark = element("i");
      // As the line in the plot: runs beside each other differ by their dashes alone.
      mark.style.borderTop = `4px ${line}`;
      button.append(mark, name);
      button.setAttribute("aria-pressed", "true");
      button.onclick = () => {
        const hide = !this.#hidden.has(name);
        if (hide) this.#hidden.add(name);
        else this.#hidden.delete(name);
        button.setAttribute("aria-pressed", String(!hide));
        this.#draw();
      };
      legend.append(button);
    }
    return legend;
  }

  #open(): void {
    if (this.#chart) return;
    this.#opened();
    const chart = init(this.#plot, null, { renderer: "svg" });
    this.#chart = chart;
    if (this.spec.group) {
      chart.group = this.spec.group;
      connect(this.spec.group);
    }
    chart.on("datazoom", (event) => {
      const zoomed = (chart.getOption() as { dataZoom?: { start: number; end: number }[] }).dataZoom?.[0];
      if (event && zoomed) [this.#from, this.#to] = [zoomed.start, zoomed.end];
      this.#placeTexts();
    });
    this.#draw();
    this.#select(chart);
    new ResizeObserver(() => {
      chart.resize();
      this.#draw();
    }).observe(this.#plot);
    dark.addEventListener("change", () => this.#draw());
    this.figure.dataset.drawn = "yes";
  }

  #look(): { scheme: Scheme; narrow: boolean } {
    return { scheme: scheme(), narrow: this.#plot.clientWidth < 560 };
  }

  /** The panels with the series that are not switched off. */
  #panels(): Panel[] {
    return this.spec.panels.map((panel) => ({
      ...panel,
      series: panel.series
        .map((series, i) => ({ ...series, color: series.color ?? i }))
        .filter(({ name }) => !this.#hidden.has(name)),
    }));
  }

  #places(): PanelPlaces {
    let top = 22;
    const tops = this.spec.panels.map((panel) => {
      const own = top;
      top += plotHeight(panel) + axisHeight + 26;
      return own;
    });
    return { ...this.#margins(this.#look().narrow), tops };
  }

  /** Texts at points and marks stand where the part that is seen has room for them. */
  #placeTexts(): void {
    const chart = this.#chart;
    if (!chart) return;
    const [panels, places] = [this.#panels(), this.#places()];
    const texts = placedTexts(chart, panels, places);
    if (!texts) return;
    const { series } = panelOptions(panels, this.#look(), places, texts);
    chart.setOption({ series } as Parameters<typeof chart.setOption>[0]);
  }

  #draw(): void {
    const chart = this.#chart;
    if (!chart) return;
    const look = this.#look();
    const panels = this.#panels();
    this.#drawn = panels.flatMap((panel) => panel.series.map((series) => ({ panel, series })));
    chart.dispatchAction({ type: "hideTip" });
    const item = this.spec.hover === "point";
    const axis = this.spec.hover === "y" ? "y" : "x";
    chart.setOption(
      {
        animation: false,
        textStyle: { fontFamily },
        ...panelOptions(panels, look, this.#places()),
        dataZoom: {
          ...{ type: "inside", xAxisIndex: panels.map((_, i) => i), filterMode: "none" },
          ...{ zoomOnMouseWheel: "ctrl", moveOnMouseMove: "shift", moveOnMouseWheel: false },
          preventDefaultMouseMove: false,
          ...{ start: this.#from, end: this.#to },
        },
        axisPointer: { link: linkedAxes(panels), snap: true, lineStyle: { color: colors.muted[look.scheme] } },
        tooltip: {
          trigger: item ? "item" : "axis",
          axisPointer: { type: "line", axis },
          confine: true,
          backgroundColor: colors.paper[look.scheme],
          borderColor: colors.grid[look.scheme],
          textStyle: { color: colors.ink[look.scheme], fontFamily, fontSize: 12 },
          formatter: (hovered: unknown) =>
            this.#words([hovered].flat() as Hovered[])
              .map(escaped)
              .join("<br>"),
        },
      } as Parameters<typeof chart.setOption>[0],
      // A tooltip that is open would ask for a series that is gone.
      { notMerge: true },
    );
    this.#placeTexts();
  }

  #margins(narrow: boolean): { left: number; right: number } {
    const right = this.spec.panels.some(({ right }) => right) ? 74 : narrow ? 14 : 28;
    return { left: narrow ? 74 : 88, right };
  }

  /** The hovered values, a line each: x first. */
  #words(all: readonly Hovered[]): string[] {
    const points = all.filter(({ value }) => value?.[1] !== null && value?.[1] !== undefined);
    // Where a line is broken there is a place, but no value.
    const first = points[0] ?? all.find(({ value }) => value !== undefined);
    const owner = first && this.#drawn[first.seriesIndex];
    if (!first || !owner) return [];
    const x = `${owner.panel.x.title}: ${axisText(owner.panel.x, first.value[0])}`;
    const seen = new Set<string>();
    const lines = points.flatMap(({ seriesIndex, dataIndex, value: [, y] }) => {
      const { panel, series } = this.#drawn[seriesIndex] ?? owner;
      const axis = series.right && panel.right ? panel.right : panel.y;
      const label = series.labels?.[dataIndex];
      const title = this.#drawn.every((each) => each.panel === panel) ? "" : ` ${axis.title}`;
      const line = `${series.name}${title}: ${axisText(axis, y as number)}${label ? ` (${label})` : ""}`;
      if (seen.has(line)) return [];
      seen.add(line);
      return [line];
    });
    return [x, ...(lines.length > 0 ? lines : [noValue])];
  }

  #key(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step !== undefined) this.#walk(step * (event.shiftKey ? 10 : 1));
    else if (event.key === "+" || event.key === "=") this.#zoom(0.5);
    else if (event.key === "-") this.#zoom(2);
    else if (event.key === "Escape" || event.key === "0") this.#show(0, 100);
    else return;
    event.preventDefault();
  }

  /** Moves along the values of the first series and says those of all at that place. */
  #walk(step: number): void {
    this.#ensure();
    const first = this.#drawn.findIndex(({ series }) => series.points.length > 0);
    const { points = [] } = this.#drawn[first]?.series ?? {};
    if (points.length === 0) return;
    let at = this.#at;
    do at += Math.sign(step);
    while (points[at] !== undefined && points[at]?.[1] === null);
    at += step - Math.sign(step);
    this.#at = Math.min(points.length - 1, Math.max(0, at));
    const x = points[this.#at]?.[0];
    this.#chart?.dispatchAction({ type: "showTip", seriesIndex: first, dataIndex: this.#at });
    const there = this.#drawn.flatMap(({ series }, seriesIndex) => {
      const dataIndex = series.points.findIndex(([each]) => each === x);
      const value = series.points[dataIndex] as [number, number | null] | undefined;
      return value ? [{ seriesIndex, dataIndex, value }] : [];
    });
    this.#announced.textContent = this.#words(there).join("; ");
  }

  #ensure(): void {
    if (!this.#chart) this.#open();
  }

  #zoom(factor: number): void {
    this.#ensure();
    const middle = (this.#from + this.#to) / 2;
    const half = Math.min(50, Math.max(0.5, ((this.#to - this.#from) * factor) / 2));
    const from = Math.min(100 - 2 * half, Math.max(0, middle - half));
    this.#show(from, from + 2 * half);
  }

  #show(start: number, end: number): void {
    this.#ensure();
    this.#chart?.dispatchAction({ type: "dataZoom", start, end });
  }

  /** Dragging over a part of the plot shows that part alone. */
  #select(chart: EChartsType): void {
    const mark = element("div", { className: "selected" });
    this.#plot.append(mark);
    let beginPx: number | undefined;
    const reach = (px: number) => {
      const { left, right } = this.#margins(this.#plot.clientWidth < 560);
      return Math.min(this.#plot.clientWidth - right, Math.max(left, px));
    };
    const place = (px: number) => px - this.#plot.getBoundingClientRect().left;
    this.#plot.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0 && !event.shiftKey) beginPx = reach(place(event.clientX));
    });
    window.addEventListener("pointermove", (event) => {
      if (beginPx === undefined) return;
      const toPx = reach(place(event.clientX));
      mark.style.cssText = `display:block;left:${Math.min(beginPx, toPx)}px;width:${Math.abs(toPx - beginPx)}px`;
    });
    window.addEventListener("pointerup", (event) => {
      if (beginPx === undefined) return;
      const [fromPx, toPx] = [beginPx, reach(place(event.clientX))].sort((a, b) => a - b) as [number, number];
      beginPx = undefined;
      mark.style.display = "none";
      if (toPx - fromPx < 8) return;
      const value = (px: number) => chart.convertFromPixel({ xAxisIndex: 0 }, px) as unknown as number;
      chart.dispatchAction({ type: "dataZoom", startValue: value(fromPx), endValue: value(toPx) });
    });
  }
}

const specs = JSON.parse(document.getElementById("charts")?.textContent ?? "{}") as Record<string, ChartSpec>;
for (const figure of document.querySelectorAll<HTMLElement>("figure[data-chart]")) {
  const spec = specs[figure.dataset.chart ?? ""];
  if (spec) new LiveChart(figure, spec);
}
