//! SQL text for several rows or ids at once: numbered parameters, in order.

use std::fmt::Write;

/// `$1,$2,…,$n`.
pub(super) fn list(n: usize) -> String {
    let mut text = String::with_capacity(n * 5);
    for i in 1..=n {
        let _ = write!(text, "{}${i}", if i > 1 { "," } else { "" });
    }
    text
}

/// `($1,$2),($3,$4),…`: `rows` rows of `columns` columns.
pub(super) fn rows(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row > 0 { ",(" } else { "(" });
        for column in 1..=columns {
            let _ = write!(text, "{}${}", if column > 1 { "," } else { "" }, row * columns + column);
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn parameters_are_numbered_in_order() {
        assert_eq!(super::list(3), "$1,$2,$3");
        assert_eq!(super::rows(2, 2), "($1,$2),($3,$4)");
    }
}
