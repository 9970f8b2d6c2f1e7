// Where panels stand: sections of lines, each line filling Grafana's 24 columns from left to right.

import type { Panel, RowPanel } from '@grafana/schema';

import type { Unplaced } from './panels.js';

const COLUMNS = 24;

/** Panels beside each other, all `height` units high and equally wide. */
export interface Line {
  height: number;
  panels: Unplaced[];
}

/** A titled, foldable part of the dashboard. */
export interface Section {
  title: string;
  lines: Line[];
}

/** Gives every panel its id and place. */
export function place(sections: Section[]): (Panel | RowPanel)[] {
  const placed: (Panel | RowPanel)[] = [];
  let id = 1;
  let y = 0;
  for (const { title, lines } of sections) {
    placed.push({ type: 'row', id: id++, title, collapsed: false, gridPos: { x: 0, y, w: COLUMNS, h: 1 }, panels: [] });
    y += 1;
    for (const { height, panels } of lines) {
      const width = Math.floor(COLUMNS / panels.length);
      for (const [at, panel] of panels.entries()) {
        placed.push({ id: id++, gridPos: { x: at * width, y, w: width, h: height }, ...panel });
      }
      y += height;
    }
  }
  return placed;
}
