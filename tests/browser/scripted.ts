// What a guard and its console ask: a gateway's admin interface, a scorer and a Prometheus, each under a path of one
// server. The gateway holds a share as Envoy does; counters grow with time as steady traffic at that share makes them.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const SHARE_KEY = 'suggest.use_model_canary';
/** Requests a second: much, so that a ramp that is held to seconds finds enough of them. */
const RATE = 4000;
const AGREE = 0.902;
const LABELS = ['groceries', 'restaurants', 'shopping', 'transportation', 'transportation.fuel', 'coffee', 'entertainment', 'utilities', 'health', 'transfers'];

interface Counts {
  rule: number;
  model: number;
  agree: number;
  differ: number;
}

export class Scripted {
  /** What Envoy's runtime holds. */
  private readonly runtime = new Map([[SHARE_KEY, '0']]);
  /** False: Prometheus and the scorer answer 503. */
  telling = true;
  private readonly counts: Counts = { rule: 50_000, model: 0, agree: 45_000, differ: 5_000 };
  private last = Date.now();

  private constructor(private readonly server: Server) {}

  static async start(): Promise<Scripted> {
    const server = createServer();
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    const scripted = new Scripted(server);
    server.on('request', (request, response) => scripted.answer(request, response));
    return scripted;
  }

  /** The share as Envoy's runtime writes it. */
  get share(): string {
    return this.runtime.get(SHARE_KEY) ?? '0';
  }

  url(part: 'admin' | 'scorer' | 'prometheus'): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/${part}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private fraction(): number {
    const percent = Number(this.share);
    if (!Number.isNaN(percent)) return percent / 100;
    const { numerator, denominator } = JSON.parse(this.share);
    return numerator / { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 }[denominator as 'HUNDRED'];
  }

  private grow(): void {
    const requests = ((Date.now() - this.last) / 1000) * RATE;
    this.last = Date.now();
    this.counts.rule += requests * (1 - this.fraction());
    this.counts.model += requests * this.fraction();
    this.counts.agree += requests * AGREE;
    this.counts.differ += requests * (1 - AGREE);
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://scripted');
    const asked = url.searchParams.get('query') ?? '';
    this.grow();
    if (url.pathname.startsWith('/scorer')) response.setHeader('x-perch-scorer', '1');
    if (!this.telling && !url.pathname.startsWith('/admin')) {
      response.writeHead(503).end();
      return;
    }
    switch (url.pathname) {
      case '/admin/runtime':
        return json(response, { entries: Object.fromEntries([...this.runtime].map(([key, value]) => [key, { final_value: value }])) });
      case '/admin/runtime_modify':
        for (const [key, value] of url.searchParams) this.runtime.set(key, value);
        return void response.end('OK\n');
      case '/scorer/ml/v2/model/status':
        return json(response, MODELS);
      case '/scorer/perch/v1/evidence':
        return json(response, this.evidence(Number(url.searchParams.get('since_ms'))));
      case '/scorer/perch/v1/analysis':
        return json(response, analysis(Number(url.searchParams.get('since_ms'))));
      case '/prometheus/api/v1/alerts':
        return json(response, { status: 'success', data: { alerts: [] } });
      case '/prometheus/api/v1/query_range':
        return json(response, { status: 'success', data: { resultType: 'matrix', result: history(asked, url.searchParams) } });
      case '/prometheus/api/v1/query':
        return json(response, { status: 'success', data: { resultType: 'vector', result: this.instant(asked) } });
    }
    response.writeHead(404).end();
  }

  private instant(asked: string): unknown[] {
    const at = Date.now() / 1000;
    const sample = (name: string, labels: Record<string, string>, value: number) => ({
      metric: { __name__: name, instance: 'scripted', ...labels },
      value: [at, String(value)],
    });
    if (asked === 'perch:share_measured:ratio_10m') return [sample('', {}, this.fraction() * 0.985)];
    if (asked === 'perch:model_available:ratio_5m') return [sample('', {}, 0.9993)];
    const { rule, model, agree, differ } = Object.fromEntries(
      Object.entries(this.counts).map(([name, count]) => [name, Math.round(count)]),
    ) as unknown as Counts;
    const judged = agree + differ;
    const answers = (arm: string, all: number) => [
      sample('perch_scorer_gateway_latency_seconds_bucket', { arm, le: '0.25' }, Math.round(all * 0.998)),
      sample('perch_scorer_gateway_latency_seconds_bucket', { arm, le: '+Inf' }, all),
      sample('perch_scorer_gateway_latency_seconds_count', { arm }, all),
    ];
    return [
      sample('lm_suggest_compare_total', { agree: 'True' }, agree),
      sample('lm_suggest_compare_total', { agree: 'False' }, differ),
      sample('lm_suggest_source_total', { source: 'rule' }, rule),
      sample('lm_suggest_source_total', { source: 'model' }, model),
      sample('lm_ml_fallback_total', { reason: 'deadline' }, Math.round(model * 0.004)),
      sample('lm_ml_predict_requests_total', { available: 'True' }, judged),
      sample('lm_ml_predict_requests_total', { available: 'False' }, 0),
      sample('perch_observation_total', { outcome: 'observed' }, judged),
      sample('perch_observation_total', { outcome: 'dropped_buffer_full' }, 0),
      sample('perch_identity_total', { source: 'header' }, rule + model),
      sample('perch_identity_total', { source: 'none' }, 0),
      sample('perch_scorer_judged_requests_total', {}, judged),
      sample('perch_scorer_request_agreement_total', {}, agree),
      sample('perch_scorer_request_agreement_squares_total', {}, agree * 0.95),
      ...answers('candidate', model),
      ...answers('baseline', rule),
      ...answers('fallback', Math.round(model * 0.004)),
      sample('perch_scorer_model_info', { alias: 'champion', version: MODELS.meta.version }, 1),
      sample('perch_scorer_model_f1_macro', {}, 0.9315),
      sample('perch_scorer_drift_psi', { feature: 'amount' }, 0.041),
    ];
  }

  private evidence(since: number): unknown {
    const users = Math.round(((Date.now() - since) / 1000) * 400);
    const side = (all: number, rate: number) => {
      const given = Math.round(all * 0.4);
      const accepted = Math.round(given * rate);
      return { users: given, given, accepted, given_squared: given, accepted_squared: accepted, given_accepted: accepted };
    };
    const model = Math.round(users * this.fraction());
    return {
      version: 1,
      since_ms: since,
      users: { rule: users - model, model, sampled_one_in: 1 },
      feedback: { rule: side(users - model, 0.71), model: side(model, 0.73) },
    };
  }
}

function json(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** A wave between −1 and 1 that is the same each time. */
const wave = (at: number) => Math.sin(at / 977) * 0.5 + Math.sin(at / 311) * 0.3 + Math.sin(at / 97) * 0.2;

/** A ramp of the last six hours, 1 to 5 to 10 percent, as it would look in Prometheus. */
function history(asked: string, range: URLSearchParams): unknown[] {
  const [from, to, step] = ['start', 'end', 'step'].map((name) => Number(range.get(name))) as [number, number, number];
  const wanted = (at: number) => {
    const part = (at - from) / (to - from);
    return part < 0.22 ? 0 : part < 0.42 ? 0.01 : part < 0.66 ? 0.05 : 0.1;
  };
  const narrow = (at: number) => 0.018 / Math.sqrt(0.15 + ((at - from) / (to - from)) * 3);
  const value = (at: number): number => {
    const agreement = AGREE + wave(at) * 0.004;
    if (asked.includes('bound="lower"')) return agreement - narrow(at);
    if (asked.includes('bound="upper"')) return agreement + narrow(at);
    if (asked.includes('threshold')) return 0.872;
    if (asked.includes('check_value')) return agreement;
    if (asked.includes('share_configured')) return wanted(at);
    if (asked.includes('share_measured')) return Math.max(0, wanted(at) * (1 + wave(at * 3) * 0.06));
    const rate = 42 + wave(at) * 6;
    return asked.includes('"model"') ? rate * wanted(at) : rate * (1 - wanted(at));
  };
  const values: [number, string][] = [];
  for (let at = from; at <= to; at += step) values.push([at, value(at).toFixed(5)]);
  return [{ metric: {}, values }];
}

const MODELS = {
  available: true,
  meta: {
    run_id: '20261124T233612-42e1c427',
    version: '20261124T233612-42e1c427',
    created: '2026-11-24T23:36:12+00:00',
    val_f1_macro: 0.9315,
    class_count: 21,
    metrics: { val_f1_macro: 0.9315, val_accuracy: 0.935, rules_f1_macro: 0.3882, calibration_error: 0.0088 },
    data_span: {
      train: { rows: 56621, from: '2026-05-05T00:06:36+00:00', to: '2026-09-08T05:01:37+00:00' },
      validate: { rows: 16178, from: '2026-09-26T10:21:25+00:00', to: '2026-10-31T23:48:46+00:00' },
    },
    model_sha256: '5f1c0b7a9d3e24c68f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60',
    loaded_at: 1_795_564_800,
  },
  challenger: null,
  previous: '20261117T040011-9b07d1aa',
  versions: ['20261110T040008-77c2e0f1', '20261117T040011-9b07d1aa', '20261124T233612-42e1c427'],
  refused: [],
};

function analysis(since: number): unknown {
  const pairs: unknown[] = [];
  const samples: unknown[] = [];
  LABELS.forEach((rule, row) =>
    LABELS.forEach((model, column) => {
      const near = Math.abs(row - column);
      const items = near === 0 ? 9_000 - row * 700 : near < 4 ? Math.round(900 / (near * near + row)) : 0;
      if (items === 0) return;
      pairs.push({ rule, model, served: 'baseline', items });
      if (near > 0) {
        samples.push({
          at_ms: Date.now() - (row * 31 + column) * 61_000,
          user: `00f3a1${row}${column}7c4e9b20d`.slice(0, 16),
          item: String(4_000 + row * 37 + column),
          served: 'baseline',
          rule_label: rule,
          model_label: model,
          model_confidence: 0.55 + ((row * 7 + column * 3) % 40) / 100,
          model_version: MODELS.meta.version,
        });
      }
    }),
  );
  pairs.push({ rule: null, model: 'groceries', served: 'baseline', items: 2_100 });
  const nobody = { users: 0, given: 0, accepted: 0, given_squared: 0, accepted_squared: 0, given_accepted: 0 };
  return {
    version: 1,
    since_ms: since,
    until_ms: Date.now(),
    left_out: [],
    pairs,
    agreement: nobody,
    users: null,
    feedback: { rule: nobody, model: nobody },
    disputed: { rule: nobody, model: nobody },
    taken: [
      { rule: 'groceries', model: 'restaurants', served: 'baseline', took: 'model', times: 41 },
      { rule: 'groceries', model: 'restaurants', served: 'baseline', took: 'rule', times: 17 },
      { rule: 'restaurants', model: 'groceries', served: 'baseline', took: 'rule', times: 22 },
    ],
    samples,
    disputes_dropped: 0,
  };
}
