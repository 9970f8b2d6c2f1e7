// Keeps a page fresh: asks for it again every few seconds and puts what is new in place of what was there. Without this
// script everything still works; a reload does the same.
'use strict';

const EVERY_MS = 5_000;
const gone = document.getElementById('gone');
let waiting = false;

function parts(of) {
  return new Map([...of.querySelectorAll('[data-live]')].map((part) => [part.id, part]));
}

// Each page has fresh tickets; a form that differs in nothing else stays, so that no press of a button is lost.
function text(part) {
  return part.outerHTML.replaceAll(/name="ticket" value="[^"]*"/g, '');
}

function exchange(fresh) {
  const there = parts(fresh);
  for (const [id, part] of parts(document)) {
    const next = there.get(id);
    // What somebody works with stays as it is.
    if (!next || part.contains(document.activeElement) || text(part) === text(next)) continue;
    part.replaceWith(document.importNode(next, true));
  }
}

async function refresh() {
  if (waiting || document.hidden || parts(document).size === 0) return;
  waiting = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(20_000) });
    if (!answer.ok) throw new Error(String(answer.status));
    exchange(new DOMParser().parseFromString(await answer.text(), 'text/html'));
    if (!gone.hidden) gone.hidden = true;
  } catch {
    if (gone.hidden) gone.hidden = false;
  } finally {
    waiting = false;
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener('visibilitychange', refresh);
