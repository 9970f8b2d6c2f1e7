// A real `perch guard` with its console, on a folder of its own, in front of scripted parts.

import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { test as base } from '@playwright/test';

import { Scripted } from './scripted.js';

const PROGRAM = process.env.PERCH_PROGRAM || fileURLToPath(new URL('../../target/debug/perch', import.meta.url));

/** What people show at the console, and what Alertmanager shows. */
export const TOKEN = 'operators-token-of-the-browser-tests';
export const HOOK_TOKEN = 'alertmanagers-token-of-the-browser-tests';

/** A ramp whose first steps are seconds long, and whose third lasts for days. */
const PLAN = {
  baseline: { agreement: 0.9, minimum_time: '1s', minimum_requests: 10 },
  settle_time: '1s',
  minimum_time: '48h',
  minimum_requests: 1000,
  agreement: { tolerated_drop: 0.03 },
  steps: [
    { share: '1%', minimum_time: '2s', minimum_requests: 10 },
    { share: '5%', minimum_time: '2s', minimum_requests: 10 },
    '10%',
    { share: '25%', manual: true },
    '50%',
    '100%',
  ],
};

export class Guard {
  private process?: ChildProcess;
  private log = '';

  private constructor(
    readonly parts: Scripted,
    readonly url: string,
    private readonly folder: string,
  ) {}

  static async start(): Promise<Guard> {
    const folder = mkdtempSync(`${tmpdir()}/perch-console-`);
    for (const [file, token] of [['token', TOKEN], ['hook-token', HOOK_TOKEN]] as const) {
      writeFileSync(`${folder}/${file}`, token);
      chmodSync(`${folder}/${file}`, 0o600);
    }
    writeFileSync(`${folder}/plan.json`, JSON.stringify(PLAN));
    const guard = new Guard(await Scripted.start(), `http://127.0.0.1:${await freePort()}`, folder);
    await guard.launch();
    return guard;
  }

  /** Starts the guard, again after `kill`, where it was. */
  async launch(): Promise<void> {
    const listen = this.url.replace('http://', '');
    const options = [
      ['--gateway', this.parts.url('admin')],
      ['--scorer', this.parts.url('scorer')],
      ['--prometheus', this.parts.url('prometheus')],
      ['--folder', `${this.folder}/guard`],
      ['--interval', '1'],
      ['--name', 'guard-1'],
      ['--listen', listen],
      ['--token-file', `${this.folder}/token`],
      ['--hook-token-file', `${this.folder}/hook-token`],
    ];
    const started = spawn(PROGRAM, ['guard', ...options.flat()], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [started.stdout, started.stderr]) stream.on('data', (text) => (this.log += text));
    this.process = started;
    for (let tries = 0; ; tries++) {
      const up = await fetch(`${this.url}/healthz`).then((answer) => answer.ok, () => false);
      if (up) return;
      if (tries > 100 || started.exitCode !== null) throw new Error(`the guard does not come up:\n${this.log}`);
      await new Promise((later) => setTimeout(later, 100));
    }
  }

  async kill(): Promise<void> {
    const running = this.process;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise((ready) => running.once('exit', ready));
    running.kill('SIGKILL');
    await ended;
  }

  /** Runs `perch` on this guard's folder and gateway. */
  async perch(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(PROGRAM, [...args, '--folder', `${this.folder}/guard`, '--as', 'grace']);
    return stdout;
  }

  async startRamp(): Promise<void> {
    await this.perch('ramp', 'start', '--plan', `${this.folder}/plan.json`, '--reason', 'model 2026-11-24');
  }

  /** The audit log's entries in order: actor, event and share. */
  auditLog(): string[] {
    const lines = readFileSync(`${this.folder}/guard/audit_log.jsonl`, 'utf8').trim().split('\n');
    return lines.map((line) => {
      const { actor, event, to } = JSON.parse(line);
      return [Object.values(actor)[0], event, to].filter(Boolean).join(' ');
    });
  }

  async stop(): Promise<void> {
    await this.kill();
    this.parts.stop();
    rmSync(this.folder, { recursive: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Tests with a guard of their own, at whose console `page` begins. */
export const test = base.extend<{ guard: Guard }>({
  guard: async ({}, use) => {
    const guard = await Guard.start();
    await use(guard);
    await guard.stop();
  },
  baseURL: async ({ guard }, use) => use(guard.url),
});
