//! A brand as a card statement writes it: `SQ *BLUE BOTTLE COFFEE`, `PURCHASE AUTHORIZED ON 03/14 COSTCO WHSE #0123
//! SEATTLE WA`, cut to the width of the field, now and then with a letter wrong.

use super::dice::Dice;

/// Where users live.
pub(super) const CITIES: [&str; 40] = [
    "SEATTLE WA",
    "PORTLAND OR",
    "OAKLAND CA",
    "SAN JOSE CA",
    "FRESNO CA",
    "SAN DIEGO CA",
    "LAS VEGAS NV",
    "PHOENIX AZ",
    "TUCSON AZ",
    "BOISE ID",
    "DENVER CO",
    "SALT LAKE UT",
    "AUSTIN TX",
    "DALLAS TX",
    "HOUSTON TX",
    "EL PASO TX",
    "TULSA OK",
    "OMAHA NE",
    "KANSAS CITY MO",
    "ST LOUIS MO",
    "CHICAGO IL",
    "MILWAUKEE WI",
    "MADISON WI",
    "MINNEAPOLIS MN",
    "DETROIT MI",
    "COLUMBUS OH",
    "CLEVELAND OH",
    "PITTSBURGH PA",
    "PHILADELPHIA PA",
    "NEW YORK NY",
    "BROOKLYN NY",
    "BUFFALO NY",
    "BOSTON MA",
    "PROVIDENCE RI",
    "BALTIMORE MD",
    "RICHMOND VA",
    "RALEIGH NC",
    "ATLANTA GA",
    "MIAMI FL",
    "TAMPA FL",
];

const PEOPLE: [&str; 24] = [
    "ALEX",
    "SAM RIVERA",
    "JORDAN LEE",
    "TAYLOR",
    "MORGAN K",
    "CASEY",
    "JAMIE SMITH",
    "RILEY",
    "AVERY J",
    "QUINN",
    "DREW",
    "PARKER",
    "REESE",
    "ROWAN",
    "SKYLER",
    "EMERSON",
    "FINLEY",
    "HAYDEN",
    "KENDALL",
    "LOGAN",
    "MARIA G",
    "PRIYA",
    "WEI",
    "OMAR",
];

const EMPLOYERS: [&str; 16] = [
    "ACME CORP",
    "NORTHWIND",
    "GLOBEX",
    "INITECH",
    "CITY SCHOOLS",
    "MERCY HOSPITAL",
    "LAKESIDE LLC",
    "HARBOR FREIGHT CO",
    "SUMMIT GROUP",
    "PIONEER FOODS",
    "VERTEX SYSTEMS",
    "CASCADE HEALTH",
    "STATE UNIV",
    "BLUE RIVER INC",
    "METRO COUNTY",
    "ATLAS LOGISTICS",
];

/// How a brand is written this time.
pub(super) fn write(brand: &str, label: &str, online: bool, city: &str, dice: &mut Dice) -> String {
    let mut text = match label {
        "transfers" | "housing"
            if brand.starts_with("ZELLE") || brand.starts_with("VENMO") || brand.starts_with("CASH APP") =>
        {
            format!("{brand} {}", dice.pick(&PEOPLE).copied().unwrap_or("ALEX"))
        }
        "income" if brand == "PAYROLL" => {
            format!(
                "{} PAYROLL PPD ID {}",
                dice.pick(&EMPLOYERS).copied().unwrap_or("ACME CORP"),
                dice.between(10_000, 99_999)
            )
        }
        "fees" | "income" | "transfers" | "cash" => format!("{brand} {:04}", dice.below(10_000)),
        _ if online => match dice.below(6) {
            0 => format!("PAYPAL *{brand}"),
            1 | 2 => format!("{brand}.COM {}", dice.between(100_000, 999_999)),
            3 => format!("{brand}*{:04X}{:02X}", dice.below(0x1_0000), dice.below(0x100)),
            _ => format!("{brand} ONLINE"),
        },
        _ => {
            let small = matches!(label, "restaurants" | "coffee" | "personal.care" | "pets");
            let processor = match dice.below(12) {
                0 if small => "SQ *",
                1 if small && label == "restaurants" => "TST* ",
                2 if small => "SQ *",
                _ => "",
            };
            let store = match dice.below(5) {
                0 => String::new(),
                1 => format!(" {:04}", dice.below(10_000)),
                2 => format!(" #{:03}", dice.below(1_000)),
                3 => format!(" T-{:04}", dice.below(10_000)),
                _ => format!(" STORE {}", dice.below(5_000)),
            };
            let place = if dice.chance(0.75) { format!(" {city}") } else { String::new() };
            format!("{processor}{brand}{store}{place}")
        }
    };
    if dice.chance(0.12) {
        let front = match dice.below(4) {
            0 => "POS DEBIT ".to_owned(),
            1 => format!("PURCHASE AUTHORIZED ON {:02}/{:02} ", dice.between(1, 12), dice.between(1, 28)),
            2 => "CHECKCARD ".to_owned(),
            _ => "RECURRING ".to_owned(),
        };
        text.insert_str(0, &front);
    }
    if dice.chance(0.06) {
        mistype(&mut text, dice);
    }
    if dice.chance(0.3) {
        cut(&mut text, usize::try_from(dice.between(20, 25)).unwrap_or(25));
    }
    text
}

/// Loses one letter after the first.
fn mistype(text: &mut String, dice: &mut Dice) {
    let places: Vec<usize> = text.char_indices().skip(1).filter(|(_, c)| c.is_alphabetic()).map(|(at, _)| at).collect();
    if let Some(at) = dice.pick(&places) {
        text.remove(*at);
    }
}

fn cut(text: &mut String, width: usize) {
    if let Some((at, _)) = text.char_indices().nth(width) {
        text.truncate(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_brand_has_many_spellings_that_normalise_to_few() {
        let mut dice = Dice::new(3, 3);
        let raw: Vec<String> =
            (0..200).map(|_| write("COSTCO WHSE", "groceries", false, "SEATTLE WA", &mut dice)).collect();
        let spellings: std::collections::HashSet<&String> = raw.iter().collect();
        let keys: Vec<Vec<u8>> =
            raw.iter().map(|raw| crate::features::text::Normalised::merchant(raw).key().to_vec()).collect();
        let same = keys.iter().filter(|key| key.as_slice() == b"costco whse").count();
        assert!(spellings.len() > 100 && same > 160, "{} spellings, {same} of 200 the same", spellings.len());
    }
}
