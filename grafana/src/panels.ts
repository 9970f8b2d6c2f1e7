// The few kinds of panel that the dashboard uses. Their options have the types of Grafana's own schema, so that a misspelt
// or removed one does not compile.

import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  FieldColorModeId,
  GraphDrawStyle,
  LegendDisplayMode,
  PercentChangeColorMode,
  SortOrder,
  StackingMode,
  TableCellHeight,
  ThresholdsMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizOrientation,
  type DataQuery,
  type DataSourceRef,
  type FieldConfig,
  type FieldConfigSource,
  type GraphFieldConfig,
  type Panel,
  type SingleStatBaseOptions,
  type Threshold,
} from '@grafana/schema';
import {
  defaultOptions as gaugeDefaults,
  type Options as GaugeOptions,
} from '@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {
  FieldConfig as HeatFieldConfig,
  Options as HeatOptions,
} from '@grafana/schema/dist/esm/raw/composable/statushistory/panelcfg/x/StatusHistoryPanelCfg_types.gen';
import type { Options as TableOptions } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as SeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** The data source of `provisioning/datasources/prometheus.yml`. */
export const PROMETHEUS: DataSourceRef = { type: 'prometheus', uid: 'perch-prometheus' };

/** A query to Prometheus, as Grafana's data source takes it; `@grafana/schema` does not have its type. */
interface PrometheusQuery extends DataQuery {
  expr: string;
  legendFormat?: string;
  format?: 'time_series' | 'table';
  instant?: boolean;
  range?: boolean;
}

/** What a panel asks: the expression, and how its series are called (`{{label}}` takes a label's value). */
export interface Query {
  expr: string;
  legend?: string;
}

/** What every panel says of itself. */
export interface About {
  title: string;
  /** What it means, when it is normal that it shows nothing, and what to do: people read it at night. */
  description: string;
  /** Grafana's name of the unit, e.g. `percentunit`, `reqps`, `s`. */
  unit?: string;
  min?: number;
  max?: number;
  /** Colour from each value up; the first is the base. */
  steps?: Threshold[];
  queries: Query[];
}

/** A panel without its place. */
export type Unplaced = Omit<Panel, 'gridPos' | 'id'>;

/** A ratio from 0 to 1, shown in percent. */
export const RATIO = { unit: 'percentunit', min: 0, max: 1 };

function targets(queries: Query[], kind: Partial<PrometheusQuery>): Record<string, unknown>[] {
  return queries.map(({ expr, legend }, at): PrometheusQuery & Record<string, unknown> => ({
    refId: String.fromCharCode('A'.charCodeAt(0) + at),
    datasource: PROMETHEUS,
    expr,
    ...(legend === undefined ? {} : { legendFormat: legend }),
    ...kind,
  }));
}

function fields(about: About, custom: object, color: FieldColorModeId): FieldConfigSource {
  const defaults: FieldConfig = {
    // Absent is a state of its own, in every panel.
    noValue: 'no data',
    color: { mode: color },
    thresholds: { mode: ThresholdsMode.Absolute, steps: about.steps ?? [{ value: null, color: 'green' }] },
    custom: { ...custom },
  };
  if (about.unit !== undefined) defaults.unit = about.unit;
  if (about.min !== undefined) defaults.min = about.min;
  if (about.max !== undefined) defaults.max = about.max;
  return { defaults, overrides: [] };
}

function panel(type: string, about: About, rest: Pick<Panel, 'fieldConfig' | 'targets'>, options: object): Unplaced {
  return {
    type,
    title: about.title,
    description: about.description,
    datasource: PROMETHEUS,
    ...rest,
    options: { ...options },
  };
}

/** Lines over time. Gaps stay gaps. */
export function lines(about: About, custom: GraphFieldConfig = {}): Unplaced {
  const options: SeriesOptions = {
    legend: { displayMode: LegendDisplayMode.List, placement: 'bottom', showLegend: true, calcs: [] },
    tooltip: { mode: TooltipDisplayMode.Multi, sort: SortOrder.Descending },
  };
  const style: GraphFieldConfig = {
    drawStyle: GraphDrawStyle.Line,
    lineWidth: 2,
    fillOpacity: 0,
    spanNulls: false,
    showPoints: VisibilityMode.Auto,
    ...custom,
  };
  const fieldConfig = fields(about, style, FieldColorModeId.PaletteClassicByName);
  return panel('timeseries', about, { fieldConfig, targets: targets(about.queries, { range: true }) }, options);
}

/** Areas that add up, over time. */
export function stacked(about: About): Unplaced {
  return lines(about, { fillOpacity: 40, lineWidth: 1, stacking: { mode: StackingMode.Normal, group: 'A' } });
}

/** Bars over time, for what happens now and then. */
export function bars(about: About): Unplaced {
  return lines(about, { drawStyle: GraphDrawStyle.Bars, fillOpacity: 80, lineWidth: 0 });
}

const LAST: SingleStatBaseOptions = {
  reduceOptions: { values: false, calcs: ['lastNotNull'], fields: '' },
  orientation: VizOrientation.Auto,
};

/** The latest value, large. */
export function stat(about: About): Unplaced {
  const options: StatOptions = {
    ...LAST,
    colorMode: BigValueColorMode.Value,
    graphMode: BigValueGraphMode.Area,
    justifyMode: BigValueJustifyMode.Auto,
    textMode: BigValueTextMode.Auto,
    percentChangeColorMode: PercentChangeColorMode.Standard,
    showPercentChange: false,
    wideLayout: true,
  };
  const fieldConfig = fields(about, {}, FieldColorModeId.Thresholds);
  return panel('stat', about, { fieldConfig, targets: targets(about.queries, { range: true }) }, options);
}

/** The latest value on a dial. */
export function gauge(about: About): Unplaced {
  const options: Partial<GaugeOptions> = { ...gaugeDefaults, ...LAST, showThresholdMarkers: true };
  const fieldConfig = fields(about, {}, FieldColorModeId.Thresholds);
  return panel('gauge', about, { fieldConfig, targets: targets(about.queries, { range: true }) }, options);
}

/** A row per series, a cell per step, coloured from red (`min`) to green (`max`). */
export function heat(about: About): Unplaced {
  const options: HeatOptions = {
    showValue: VisibilityMode.Never,
    rowHeight: 0.9,
    colWidth: 1,
    legend: { displayMode: LegendDisplayMode.List, placement: 'bottom', showLegend: true, calcs: [] },
    tooltip: { mode: TooltipDisplayMode.Single, sort: SortOrder.None },
  };
  const custom: HeatFieldConfig = { fillOpacity: 85, lineWidth: 1 };
  const fieldConfig = fields(about, custom, FieldColorModeId.ContinuousRdYlGr);
  const heatPanel = panel('status-history', about, { fieldConfig, targets: targets(about.queries, { range: true }) }, options);
  return { ...heatPanel, maxDataPoints: 60 };
}

/**
 * The latest values, one row for each set of labels that the queries share. `columns` names what is shown: label names as
 * they are, and each query's value by its letter (`#A`); everything else is hidden.
 */
export function table(about: About, columns: Record<string, string>): Unplaced {
  const options: TableOptions = { frameIndex: 0, showHeader: true, cellHeight: TableCellHeight.Sm };
  const fieldConfig = fields(about, {}, FieldColorModeId.Thresholds);
  const asked = targets(about.queries, { format: 'table', instant: true });
  const tablePanel = panel('table', about, { fieldConfig, targets: asked }, options);
  const shown = Object.fromEntries(Object.entries(columns).map(([from, to]) => [from.replace('#', 'Value #'), to]));
  return {
    ...tablePanel,
    transformations: [
      { id: 'merge', options: {} },
      { id: 'filterFieldsByName', options: { include: { names: Object.keys(shown) } } },
      { id: 'organize', options: { renameByName: shown } },
    ],
  };
}
