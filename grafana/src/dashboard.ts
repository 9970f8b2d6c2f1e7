// The dashboard's panels, in the order in which an operator needs them.

import { DashboardCursorSync, type AnnotationQuery, type Dashboard } from '@grafana/schema';

import { place } from './layout.js';
import { bars, gauge, heat, lines, PROMETHEUS, RATIO, stacked, stat, table } from './panels.js';

/** Grafana's Prometheus data source reads these beside the query's own fields. */
interface PrometheusAnnotation extends AnnotationQuery {
  expr: string;
  step: string;
  titleFormat: string;
  textFormat: string;
}

const decisions: PrometheusAnnotation = {
  name: "Guard's decisions",
  datasource: PROMETHEUS,
  enable: true,
  iconColor: 'purple',
  expr: 'sum by (decision) (increase(perch_guard_decisions_total{decision!="hold"}[1m])) > 0',
  step: '1m',
  titleFormat: 'guard: {{decision}}',
  textFormat: 'perch status says why',
};

const firing: PrometheusAnnotation = {
  name: 'Alerts',
  datasource: PROMETHEUS,
  enable: true,
  iconColor: 'red',
  expr: 'count by (alertname) (ALERTS{alertstate="firing"})',
  step: '1m',
  titleFormat: '{{alertname}}',
  textFormat: 'prometheus/RUNBOOK.md has a section of this name',
};

const rate = (metric: string, by: string) => `sum by (${by}) (rate(${metric}[$__rate_interval]))`;

const quantile = (q: number, histogram: string, by = '') =>
  `histogram_quantile(${q}, sum by (le${by && `, ${by}`}) (rate(${histogram}_bucket[$__rate_interval])))`;

// Older than Perch (docs/names.md), so their titles and queries do not change. Without traffic they show 0, which the panels
// further down do not.
const suggestions = [
  gauge({
    title: 'Agreement Rate',
    description:
      'Of all compared items over 30 minutes, those on which baseline and candidate agree. Items that were not compared count as not agreeing; "Agreement with its baseline" leaves them out. 0 without traffic.',
    ...RATIO,
    steps: [
      { value: null, color: 'red' },
      { value: 0.75, color: 'yellow' },
      { value: 0.85, color: 'green' },
    ],
    queries: [
      {
        expr: 'sum(rate(lm_suggest_compare_total{agree="True"}[30m])) / clamp_min(sum(rate(lm_suggest_compare_total[30m])), 1e-9)',
      },
    ],
  }),
  lines({
    title: 'Suggestions by Source',
    description: 'Responses a second: rule is the baseline, model the candidate.',
    unit: 'reqps',
    min: 0,
    queries: [{ expr: 'sum by (source) (rate(lm_suggest_source_total[5m]))', legend: '{{source}}' }],
  }),
  stat({
    title: 'Model Availability',
    description: 'Of the requests to the candidate, those with a response. 0 without traffic.',
    ...RATIO,
    steps: [
      { value: null, color: 'red' },
      { value: 0.9, color: 'yellow' },
      { value: 0.99, color: 'green' },
    ],
    queries: [
      {
        expr: 'sum(rate(lm_ml_predict_requests_total{available="True"}[5m])) / clamp_min(sum(rate(lm_ml_predict_requests_total[5m])), 1e-9)',
      },
    ],
  }),
];

const canary = [
  lines({
    title: 'Share: configured and measured',
    description:
      "Configured: the share of users in Envoy's runtime. Measured: the share of requests in the canary, fallbacks included. The guard's decisions are marked; perch status gives their reasons.",
    ...RATIO,
    queries: [
      { expr: 'perch:share_configured:ratio', legend: 'configured' },
      { expr: 'perch:share_measured:ratio_10m', legend: 'measured' },
    ],
  }),
  bars({
    title: "Guard's decisions",
    description: 'Decisions a minute. Hold is the usual one. None at all: the guard is silent.',
    queries: [{ expr: 'sum by (decision) (increase(perch_guard_decisions_total[1m]))', legend: '{{decision}}' }],
  }),
  stat({
    title: "Guard's state",
    description: '1 is yes. Latched: it rolled back. Frozen: it holds the share until an operator decides. Paused: an operator holds it.',
    steps: [
      { value: null, color: 'green' },
      { value: 1, color: 'orange' },
    ],
    queries: [
      { expr: 'max(perch_guard_latched)', legend: 'latched' },
      { expr: 'max(perch_guard_frozen)', legend: 'frozen' },
      { expr: 'max(perch_guard_paused)', legend: 'paused' },
    ],
  }),
];

// A wide table: it has a line of its own.
const checks = [
  table(
    {
      title: "Guard's checks at the last evaluation",
      description:
        'The value of each check, the bound that it compared with its threshold, and its outcome. Empty cells and "no_data" are checks with nothing to judge, which hold the rollout.',
      queries: [
        { expr: 'count by (check, outcome) (perch_guard_check_outcome == 1)' },
        { expr: 'max by (check) (perch_guard_check_value)' },
        { expr: 'max by (check) (perch_guard_check_bound)' },
        { expr: 'max by (check) (perch_guard_check_threshold)' },
        { expr: 'max by (check) (perch_guard_check_sample)' },
      ],
    },
    { check: 'check', outcome: 'outcome', '#B': 'value', '#C': 'bound', '#D': 'threshold', '#E': 'sample' },
  ),
];

const promises = [
  stat({
    title: 'Responses without a server error, one day',
    description: 'Promise: 99.9%.',
    unit: 'percentunit',
    steps: [
      { value: null, color: 'red' },
      { value: 0.999, color: 'green' },
    ],
    queries: [{ expr: 'perch:slo_responses_good:ratio_1d' }],
  }),
  stat({
    title: 'Canary requests that got the candidate, one day',
    description: 'Promise: 99.5%. The others were given the baseline. No data while nobody is in the canary.',
    unit: 'percentunit',
    steps: [
      { value: null, color: 'red' },
      { value: 0.995, color: 'green' },
    ],
    queries: [{ expr: 'perch:slo_candidate_served:ratio_1d' }],
  }),
  stat({
    title: 'Observations not dropped, one day',
    description: 'Promise: 99.9%.',
    unit: 'percentunit',
    steps: [
      { value: null, color: 'red' },
      { value: 0.999, color: 'green' },
    ],
    queries: [{ expr: 'perch:slo_observed:ratio_1d' }],
  }),
  stat({
    title: 'Parts that are up',
    description: 'Whether Prometheus could read each part: 1 is yes.',
    steps: [
      { value: null, color: 'red' },
      { value: 1, color: 'green' },
    ],
    queries: [{ expr: 'min by (job) (up{job=~"gateway|scorer|guard|alertmanager"})', legend: '{{job}}' }],
  }),
];

const agreement = [
  lines({
    title: 'Agreement with its baseline',
    description:
      "Of the compared items, those on which baseline and candidate agree. Baseline: the week up to yesterday, absent on the first day. Bounds: the guard's confidence sequence.",
    ...RATIO,
    queries: [
      { expr: 'perch:agreement:ratio_30m', legend: '30 minutes' },
      { expr: 'perch:agreement:ratio_1h', legend: '1 hour' },
      { expr: 'perch:agreement:baseline_7d', legend: 'baseline' },
      { expr: 'max by (bound) (perch_guard_agreement_bound_ratio)', legend: '{{bound}} bound' },
    ],
  }),
  heat({
    title: 'Agreement by label',
    description:
      'For each label that clients were given, the share of its items on which the other arm agreed: red is none, green is all. A gap: no item was compared.',
    ...RATIO,
    queries: [
      {
        expr: 'sum by (label) (rate(perch_label_compare_total{agree="True"}[$__rate_interval])) / (sum by (label) (rate(perch_label_compare_total{agree=~"True|False"}[$__rate_interval])) > 0)',
        legend: '{{label}}',
      },
    ],
  }),
];

const comparisons = [
  stacked({
    title: 'Comparisons by result',
    description: 'Compared items a second.',
    min: 0,
    queries: [{ expr: rate('lm_suggest_compare_total', 'agree'), legend: '{{agree}}' }],
  }),
  stacked({
    title: 'Why items were not compared',
    description: '"no_label" is a response without a label. Everything else is a fault: see ComparisonsMissing. Labels that abstain are not in here: perch_compare_abstained_total counts them.',
    min: 0,
    queries: [{ expr: rate('perch_not_compared_total', 'reason'), legend: '{{reason}}' }],
  }),
];

const canaryHealth = [
  stacked({
    title: 'Fallbacks by reason',
    description: 'Canary requests a second that were given the baseline because the candidate failed.',
    unit: 'reqps',
    min: 0,
    queries: [{ expr: rate('lm_ml_fallback_total', 'reason'), legend: '{{reason}}' }],
  }),
  stacked({
    title: 'Passed through by reason',
    description:
      'Canary requests a second that were given the baseline for a reason of the application or the client: an error, an empty list, a client that left. None counts against the candidate.',
    unit: 'reqps',
    min: 0,
    queries: [{ expr: rate('perch_passed_through_total', 'reason'), legend: '{{reason}}' }],
  }),
  lines({
    title: 'Latency by arm',
    description:
      'From the first byte of the request at the gateway to the last of the response. "fallback": canary users who were given the baseline because the candidate failed.',
    unit: 's',
    min: 0,
    queries: [
      { expr: quantile(0.5, 'perch_scorer_gateway_latency_seconds', 'arm'), legend: '{{arm}} p50' },
      { expr: quantile(0.99, 'perch_scorer_gateway_latency_seconds', 'arm'), legend: '{{arm}} p99' },
    ],
  }),
  lines({
    title: 'Latency of both responses',
    description:
      "At the gateway: the baseline's from the request's first byte, the candidate's from its request on (canary users only).",
    unit: 's',
    min: 0,
    queries: [
      { expr: quantile(0.5, 'perch_scorer_response_latency_seconds', 'side'), legend: '{{side}} p50' },
      { expr: quantile(0.99, 'perch_scorer_response_latency_seconds', 'side'), legend: '{{side}} p99' },
    ],
  }),
];

const accounting = [
  stacked({
    title: 'Accounting of requests',
    description: 'Every intercepted request, a second, by the outcome of its observation.',
    unit: 'reqps',
    min: 0,
    queries: [{ expr: rate('perch_observation_total', 'outcome'), legend: '{{outcome}}' }],
  }),
  stat({
    title: 'Requests in flight',
    description: 'Intercepted and not yet accounted for. Goes back to 0 when traffic stops.',
    queries: [{ expr: 'sum(perch_intercepted_total) - sum(perch_observation_total)' }],
  }),
  stacked({
    title: 'Batches by result',
    description: '"sent" is answered or failed a moment later.',
    min: 0,
    queries: [{ expr: rate('perch_batch_total', 'result'), legend: '{{result}}' }],
  }),
  stacked({
    title: 'Identity by source',
    description: 'Where the identity of users comes from. "none" is always given the baseline.',
    unit: 'reqps',
    min: 0,
    queries: [{ expr: rate('perch_identity_total', 'source'), legend: '{{source}}' }],
  }),
];

const scorer = [
  lines({
    title: "Scorer's queue",
    description: 'Observations that wait. At the limit more are shed, so that live requests do not wait.',
    min: 0,
    queries: [
      { expr: 'sum(perch_scorer_queue_observations)', legend: 'waiting' },
      { expr: 'sum(perch_scorer_queue_limit_observations)', legend: 'limit' },
    ],
  }),
  stacked({
    title: 'Observations at the scorer',
    description: 'Observations a second, by result.',
    min: 0,
    queries: [{ expr: rate('perch_scorer_observations_total', 'result'), legend: '{{result}}' }],
  }),
  stacked({
    title: 'Live responses',
    description: 'Responses a second for canary users, by result.',
    unit: 'reqps',
    min: 0,
    queries: [{ expr: rate('perch_scorer_live_responses_total', 'result'), legend: '{{result}}' }],
  }),
  lines({
    title: 'Time in the scorer',
    description: 'Live: from request to response. Model: one prediction.',
    unit: 's',
    min: 0,
    queries: [
      { expr: quantile(0.99, 'perch_scorer_live_latency_seconds'), legend: 'live p99' },
      { expr: quantile(0.5, 'lm_ml_predict_latency_seconds'), legend: 'model p50' },
      { expr: quantile(0.99, 'lm_ml_predict_latency_seconds'), legend: 'model p99' },
    ],
  }),
];

const model = [
  stat({
    title: 'Macro F1',
    description: 'On the temporal validation split, of the serving model and of the last training (the serving one, until the scorer has run another). The bar is 0.72.',
    min: 0,
    max: 1,
    steps: [
      { value: null, color: 'red' },
      { value: 0.72, color: 'green' },
    ],
    queries: [
      { expr: 'max(perch_scorer_model_f1_macro)', legend: 'serving' },
      { expr: 'max(lm_ml_train_val_f1_macro) or max(perch_scorer_model_f1_macro)', legend: 'last training' },
    ],
  }),
  table(
    {
      title: 'Models loaded',
      description: 'By alias, on each scorer.',
      queries: [{ expr: 'perch_scorer_model_info' }],
    },
    { alias: 'alias', version: 'version', instance: 'scorer' },
  ),
  lines({
    title: 'Drift by feature',
    description:
      'Population stability index against the training distribution: above 0.25 it is another population. "label" is the predicted labels. No data until there are enough rows.',
    min: 0,
    steps: [
      { value: null, color: 'green' },
      { value: 0.25, color: 'red' },
    ],
    queries: [{ expr: 'max by (feature) (perch_scorer_drift_psi)', legend: '{{feature}}' }],
  }),
  bars({
    title: 'Feedback on suggestions',
    description: "Suggestions that people accepted or rejected a minute, and trainings by how they ended.",
    queries: [
      { expr: 'sum by (accepted) (increase(lm_ml_predictions_total[1m]))', legend: 'accepted: {{accepted}}' },
      { expr: 'sum by (status) (increase(lm_ml_train_runs_total[1m]))', legend: 'training {{status}}' },
    ],
  }),
];

export const dashboard: Dashboard = {
  uid: 'ml-suggestions',
  title: 'ML suggestions: rules and model',
  description: 'Perch: which arm serves, whether baseline and candidate agree, and what the guard does about it.',
  tags: ['perch'],
  schemaVersion: 42,
  version: 1,
  editable: false,
  graphTooltip: DashboardCursorSync.Crosshair,
  time: { from: 'now-6h', to: 'now' },
  timezone: 'browser',
  refresh: '30s',
  annotations: { list: [decisions, firing] },
  panels: place([
    { title: 'Suggestions', lines: [{ height: 7, panels: suggestions }] },
    {
      title: 'Canary',
      lines: [
        { height: 8, panels: canary },
        { height: 8, panels: checks },
        { height: 8, panels: canaryHealth },
        { height: 4, panels: promises },
      ],
    },
    {
      title: 'Agreement',
      lines: [
        { height: 12, panels: agreement },
        { height: 8, panels: comparisons },
      ],
    },
    { title: 'Model', lines: [{ height: 8, panels: model }] },
    {
      title: 'Machinery',
      lines: [
        { height: 8, panels: accounting },
        { height: 8, panels: scorer },
      ],
    },
  ]),
};
