// Refreshes a page: loads it again every few seconds and replaces the parts that changed. Without this script
// everything still works; a reload does the same.
'use strict';

const EVERY_MS = 5_000;
const gone = document.getElementById('gone');
let waiting = false;

function parts(of) {
  return new Map([...of.querySelectorAll('[data-live]')].map((part) => [part.id, part]));
}

// Each page has fresh tickets; a form that differs in nothing else stays, so that no click is lost.
function text(part) {
  return part.outerHTML.replaceAll(/name="ticket" value="[^"]*"/g, '');
}

function replaceParts(fresh) {
  const there = parts(fresh);
  for (const [id, part] of parts(document)) {
    const next = there.get(id);
    // The part that has the focus stays as it is.
    if (!next || part.contains(document.activeElement) || text(part) === text(next)) continue;
    part.replaceWith(document.importNode(next, true));
  }
}

async function refresh() {
  if (waiting || document.hidden || parts(document).size === 0) return;
  waiting = true;
  try {
    const signal = AbortSignal.timeout(20_000);
    const response = await fetch(location.href, { headers: { accept: 'text/html' }, signal });
    if (!response.ok) throw new Error(String(response.status));
    replaceParts(new DOMParser().parseFromString(await response.text(), 'text/html'));
    if (!gone.hidden) gone.hidden = true;
  } catch {
    if (gone.hidden) gone.hidden = false;
  } finally {
    waiting = false;
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener('visibilitychange', refresh);
