/**
 * Draws still pictures: SVG made by ECharts on the server side, in the light palette. In HTML their colours become CSS
 * variables, so that one picture serves light and dark.
 */
import { init } from "echarts";
import {
  axisHeight,
  type ChartSpec,
  type ColorName,
  colors,
  fontFamily,
  hasSymbols,
  legendGap,
  legendLine,
  legendRows,
  type Panel,
  panelName,
  panelOptions,
  placedTexts,
  plotHeight,
  type Series,
  titleHeight,
} from "./chart-option";
import { type Html, html, raw } from "./markup";

export type { Axis, ChartSpec, Panel, Series } from "./chart-option";
export { failureColor, latencyAxis, levelAxis, nines, numberAxis, scheduledColor } from "./chart-option";

export interface Picture {
  name: string;
  title: string;
  alt: string;
  width: number;
  height: number;
  /** Self-contained SVG in the light palette. */
  svg: string;
  /** What was drawn: the page's script draws it once more, to hover and zoom. */
  spec: ChartSpec;
  /** Only in the page, not as a PNG file. */
  pageOnly?: boolean;
}

/** Draws a picture of one or more panels under each other, 830 px wide by default: a README's width. */
export function draw(spec: ChartSpec): Picture {
  const width = spec.width ?? 830;
  const legends: object[] = [];
  const tops: number[] = [];
  let top = titleHeight;
  // One right margin for all panels, so that their x axes stand under each other.
  const right = spec.panels.some((panel) => panel.right) ? 74 : 28;
  for (const [panelIndex, panel] of spec.panels.entries()) {
    const names = [...new Set(panel.series.map(({ name }) => name))];
    if (names.length > 1) {
      legends.push({
        top,
        left: 8,
        right: 8,
        itemGap: legendGap,
        itemWidth: 22,
        itemHeight: 10,
        textStyle: { color: colors.ink[0], fontFamily, fontSize: 12 },
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
    tops.push(top + 6);
    top += plotHeight(panel) + axisHeight + 10;
  }
  const height = Math.round(top);
  const look = { scheme: 0 } as const;
  const places = { left: 88, right, tops };
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: colors.paper[0],
      textStyle: { fontFamily },
      title: {
        text: spec.title,
        left: 8,
        top: 8,
        textStyle: { color: colors.ink[0], fontFamily, fontSize: 15, fontWeight: "bold" },
      },
      legend: legends,
      ...panelOptions(spec.panels, look, places),
    } as Parameters<typeof chart.setOption>[0]);
    const texts = placedTexts(chart, spec.panels, places);
    if (texts) {
      const { series } = panelOptions(spec.panels, look, places, texts);
      chart.setOption({ series } as Parameters<typeof chart.setOption>[0]);
    }
    const { name, title, alt, pageOnly } = spec;
    return { name, title, alt, width, height, svg: ownIds(chart.renderToSVGString(), name), spec, pageOnly };
  } finally {
    chart.dispose(); // else ECharts keeps Node alive
  }
}

/**
 * Whether a panel shows how something changes along its x axis: a series has values at two places of it. What has one place, as
 * the figures of a run of one level, is a dot that says less than its row in a table.
 */
const hasCurve = ({ series }: Panel): boolean =>
  series.some(({ points }) => new Set(points.flatMap(([x, y]) => (y === null ? [] : [x]))).size > 1);

/** Whether a panel of a picture has a curve. */
export const hasCurves = ({ spec }: Picture): boolean => spec.panels.some(hasCurve);

/** The picture of the panels that have a curve; none where no panel has one. */
export function drawCurves(spec: ChartSpec): Picture[] {
  const panels = spec.panels.filter(hasCurve);
  return panels.length > 0 ? [draw({ ...spec, panels })] : [];
}

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

/** The picture as inline SVG whose colours follow the page's scheme; the page's script shows a live one in its place. */
export function pictureHtml(picture: Picture): Html {
  let svg = picture.svg.replace(/^<\?xml[^>]*\?>/, "").replace(/^<svg[^>]*>/, "");
  for (const name of Object.keys(colors) as ColorName[]) svg = svg.replaceAll(colors[name][0], variable(name));
  const { name, alt, width, height } = picture;
  return html`<figure id="picture-${name}" data-chart="${name}" style="max-width:${width}px"><div class="still"><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="100%" role="img" aria-label="${alt}">${raw(svg)}</div></figure>`;
}

/** CSS that gives the variables their values: light, or dark where the reader's system asks for it (not in print). */
export function chartCss(): string {
  const values = (scheme: 0 | 1) =>
    (Object.keys(colors) as ColorName[]).map((name) => `--chart-${name}:${colors[name][scheme]}`).join(";");
  return `:root{${values(0)}}\n@media screen and (prefers-color-scheme:dark){:root{${values(1)}}}`;
}
