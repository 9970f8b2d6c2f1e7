// Addresses of the running stack, from where every part has them: contract/ports.env, overridable by the environment.

import { readFileSync } from 'node:fs';

const file = readFileSync(new URL('../../contract/ports.env', import.meta.url), 'utf8');

function setting(name: string): string {
  const value = process.env[name] || new RegExp(`^${name}=(.*)$`, 'm').exec(file)?.[1]?.trim();
  if (!value) throw new Error(`${name} is neither in the environment nor in contract/ports.env`);
  return value;
}

const url = (port: string) => `http://${setting('PERCH_HOST')}:${setting(port)}`;

/** Where clients come in. */
export const GATEWAY = url('PERCH_GATEWAY_PORT');
/** The operator's console. */
export const CONSOLE = url('PERCH_CONSOLE_PORT');
