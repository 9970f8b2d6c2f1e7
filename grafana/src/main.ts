// Prints the dashboard as the JSON that Grafana provisions.

import { dashboard } from './dashboard.js';

console.log(JSON.stringify(dashboard, null, 2));
