// Extracts brand names by spending label from the npm package name-suggestion-index (BSD-3-Clause, see
// LICENSE.name-suggestion-index.md) into brands.tsv, from which the demo's transactions are written.
//
//   npm install --no-save --ignore-scripts name-suggestion-index@8.0.20260918
//   node examples/suggestions/data/extract-brands.mjs node_modules/name-suggestion-index > examples/suggestions/data/brands.tsv
//
// The same package gives the same bytes: nothing here depends on time, locale or order of objects.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const PINNED = '8.0.20260918';

// Paths of the index (OpenStreetMap key/value) by the label under which people file such a payment.
const LABELS = {
  'transportation.fuel': 'amenity/fuel amenity/charging_station shop/gas highway/services',
  groceries: 'shop/supermarket shop/convenience shop/greengrocer shop/butcher shop/deli shop/bakery shop/alcohol shop/wholesale shop/frozen_food shop/confectionery shop/pastry shop/country_store shop/farm shop/seafood shop/cheese shop/spices shop/health_food',
  restaurants: 'amenity/fast_food amenity/restaurant amenity/pub amenity/bar amenity/food_court amenity/ice_cream',
  coffee: 'amenity/cafe shop/coffee shop/tea',
  'transportation.auto': 'shop/car_repair shop/tyres shop/car_parts amenity/car_wash shop/motorcycle_repair shop/truck_repair amenity/vehicle_inspection',
  transportation: 'amenity/bicycle_rental amenity/car_sharing amenity/taxi amenity/parking amenity/car_pooling amenity/kick-scooter_rental amenity/scooter_rental',
  travel: 'tourism/hotel tourism/motel tourism/hostel tourism/caravan_site tourism/camp_site shop/travel_agency amenity/car_rental tourism/apartment shop/caravan',
  shopping: 'shop/clothes shop/shoes shop/jewelry shop/department_store shop/variety_store shop/electronics shop/books shop/gift shop/watches shop/fashion_accessories shop/bag shop/toys shop/stationery shop/charity shop/second_hand shop/outdoor shop/sports shop/baby_goods shop/video_games shop/hifi shop/photo shop/boutique shop/leather shop/craft shop/fabric shop/party shop/computer shop/pawnbroker shop/mall',
  home: 'shop/doityourself shop/hardware shop/furniture shop/houseware shop/paint shop/bed shop/interior_decoration shop/flooring shop/kitchen shop/bathroom_furnishing shop/garden_centre shop/appliance shop/trade shop/tiles shop/window_blind shop/carpet shop/curtain shop/lighting shop/vacuum_cleaner shop/swimming_pool shop/electrical shop/storage_rental shop/pest_control',
  health: 'amenity/pharmacy amenity/dentist amenity/clinic amenity/doctors amenity/hospital shop/optician shop/hearing_aids shop/chemist healthcare/laboratory healthcare/physiotherapist shop/medical_supply shop/nutrition_supplements leisure/fitness_centre healthcare/audiologist healthcare/rehabilitation',
  'health.insurance': 'office/insurance office/health_insurance',
  'personal.care': 'shop/hairdresser shop/beauty shop/cosmetics shop/perfumery shop/massage shop/tattoo shop/dry_cleaning shop/laundry shop/hairdresser_supply shop/nails',
  entertainment: 'amenity/cinema leisure/sports_centre leisure/indoor_play leisure/trampoline_park leisure/bowling_alley tourism/theme_park leisure/amusement_arcade leisure/escape_game leisure/miniature_golf amenity/theatre amenity/casino shop/music shop/video shop/musical_instrument tourism/zoo tourism/museum leisure/water_park amenity/nightclub',
  utilities: 'shop/telecommunication shop/mobile_phone office/energy_supplier office/telecommunication office/water_utility',
  education: 'amenity/kindergarten amenity/prep_school amenity/language_school amenity/school amenity/university amenity/childcare amenity/training amenity/music_school amenity/driving_school amenity/college',
  pets: 'shop/pet amenity/veterinary amenity/animal_boarding shop/pet_grooming',
  fees: 'office/tax_advisor office/financial_advisor office/lawyer shop/money_lender office/accountant office/notary amenity/post_office shop/copyshop',
  transfers: 'amenity/money_transfer amenity/payment_terminal',
};

// Where the demo's users live: English-speaking countries and brands known worldwide.
const COUNTRIES = ['us', 'ca', 'gb', 'au', 'nz', 'ie'];
// Only these kinds of operators are shops to a payer; the others of the index run lamp posts and pipelines.
const OPERATORS = /^(office\/(energy_supplier|water_utility)|amenity\/(parking|car_sharing|hospital|university|college|veterinary|clinic|doctors)|tourism\/museum)$/;
const MOST_PER_LABEL = 420;

/** 0: all of the US or the world; 1: a part of the US; 2: another English-speaking country; undefined: elsewhere. */
function nearness(item) {
  const include = item.locationSet?.include ?? [];
  const places = include.filter((place) => typeof place === 'string');
  if (places.includes('us') || places.includes('001')) return 0;
  if (places.some((place) => place.startsWith('us-'))) return 1;
  if (places.some((place) => COUNTRIES.includes(place.slice(0, 2)))) return 2;
  return undefined;
}

/** The name in the ASCII that a card terminal can print, or undefined. */
function printable(name) {
  const plain = name.normalize('NFKD').replace(/[\u0300-\u036f]/g, '').replace(/[\u2018\u2019]/g, "'").trim();
  return /^[\x20-\x7e]{3,26}$/.test(plain) && /[A-Za-z]/.test(plain) ? plain : undefined;
}

const root = process.argv[2];
if (!root) {
  console.error('usage: extract-brands.mjs path/to/node_modules/name-suggestion-index');
  process.exit(2);
}
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
if (version !== PINNED) {
  console.error(`name-suggestion-index is ${version}, the extract is made from ${PINNED}: npm install name-suggestion-index@${PINNED}`);
  process.exit(1);
}
const { nsi } = JSON.parse(readFileSync(join(root, 'dist/json/nsi.json'), 'utf8'));

// A brand that sells several kinds of things stays under the label that lists it first in LABELS.
const taken = new Set();
const lines = [];
for (const [label, paths] of Object.entries(LABELS)) {
  const brands = [];
  for (const path of paths.split(' ')) {
    const sources = [[`brands/${path}`, true], [`operators/${path}`, OPERATORS.test(path)]];
    for (const [key, wanted] of sources) {
      if (!wanted || !nsi[key]) continue;
      for (const item of nsi[key].items) {
        const near = nearness(item);
        const tags = item.tags;
        const name = printable(tags.brand ?? tags.operator ?? tags.name ?? item.displayName);
        if (near === undefined || name === undefined) continue;
        const id = name.toLowerCase();
        if (taken.has(id)) continue;
        taken.add(id);
        brands.push([near, id, name]);
      }
    }
  }
  brands.sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1));
  for (const [near, , name] of brands.slice(0, MOST_PER_LABEL)) lines.push(`${label}\t${near}\t${name}`);
}
process.stdout.write(`# name-suggestion-index ${PINNED}, BSD-3-Clause: label, nearness (0 national or worldwide, 1 regional, 2 abroad), brand\n`);
process.stdout.write(`${lines.join('\n')}\n`);
