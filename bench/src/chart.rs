//! README's chart of what a request costs: `docs/cost-light.svg` and `docs/cost-dark.svg`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use stack::checkout::Checkout;

/// Draws the result of an earlier run.
#[derive(Args)]
pub(crate) struct Options {
    /// The result of `bench gateway` [default: target/bench/gateway.json of the checkout]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Gateways that are drawn, by their names in the JSON, from top to bottom; one that was not measured is left out.
const SHOWN: [&str; 9] =
    ["none", "perch_0", "perch_10", "perch_100", "perch_wasm_0", "perch_wasm_10", "perch_wasm_100", "mirror", "lua"];

const ROW: f64 = 24.0;
const LEFT: f64 = 275.0;
const WIDTH: f64 = 720.0;
/// Room on the right for the figure.
const RIGHT: f64 = 60.0;
/// Title above, a line about the run below.
const TOP: f64 = 34.0;
const BOTTOM: f64 = 30.0;

struct Theme {
    file: &'static str,
    text: &'static str,
    muted: &'static str,
    native: &'static str,
    wasm: &'static str,
    other: &'static str,
}

const THEMES: [Theme; 2] = [
    Theme {
        file: "docs/cost-light.svg",
        text: "#1f2328",
        muted: "#59636e",
        native: "#0969da",
        wasm: "#8250df",
        other: "#8c959f",
    },
    Theme {
        file: "docs/cost-dark.svg",
        text: "#e6edf3",
        muted: "#9198a1",
        native: "#4493f8",
        wasm: "#ab7df8",
        other: "#6e7681",
    },
];

struct Bar<'a> {
    key: &'a str,
    label: &'a str,
    median: f64,
    least: f64,
    most: f64,
}

/// # Errors
/// When the result cannot be read, or a file cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    let usual = || Ok::<_, anyhow::Error>(Checkout::find()?.file("target/bench/gateway.json"));
    let path = options.from.clone().map_or_else(usual, Ok)?;
    let text =
        fs::read_to_string(&path).with_context(|| format!("reading {}: run `make bench-gateway`", path.display()))?;
    write(&serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?)
}

/// Draws `results`, as `target/bench/gateway.json` holds them, into both files.
///
/// # Errors
/// When they hold nothing to draw, or a file cannot be written.
pub(crate) fn write(results: &Value) -> Result<()> {
    let bars = bars(results);
    ensure!(bars.len() > 1, "the result has fewer than two gateways to draw: run `make bench-gateway` without --only");
    let machine = results.get("machine").and_then(Value::as_str).unwrap_or_default();
    for theme in &THEMES {
        let path = Checkout::find()?.file(theme.file);
        fs::write(&path, draw(&bars, machine, theme)).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Those of the first case, which is the one that the table begins with.
fn bars(results: &Value) -> Vec<Bar<'_>> {
    let rows = results.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let bar = |key: &'static str| {
        let row = rows.iter().find(|row| row.get("gateway").and_then(Value::as_str) == Some(key))?;
        let figure = |name: &str| row.pointer(&format!("/saturated/cpu_vs_none/{name}"))?.as_f64();
        let (median, least, most) = (figure("median")?, figure("least")?, figure("most")?);
        Some(Bar { key, label: row.get("label")?.as_str()?, median, least, most })
    };
    SHOWN.into_iter().filter_map(bar).collect()
}

fn draw(bars: &[Bar<'_>], machine: &str, theme: &Theme) -> String {
    let Theme { text, muted, .. } = theme;
    let widest = bars.iter().map(|bar| bar.most.max(bar.median)).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / widest;
    let bottom = ROW.mul_add(bars.len() as f64, TOP);
    let height = bottom + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" \
         role=\"img\" aria-label=\"CPU time of a request, as a multiple of a gateway without a filter\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <text x=\"0\" y=\"16\" fill=\"{text}\" font-weight=\"600\">CPU time of a request at the gateway, × no \
         filter (median, \
         least to most)</text>\n"
    );
    for (at, bar) in bars.iter().enumerate() {
        let colour = match bar.key {
            key if key.starts_with("perch_wasm") => theme.wasm,
            key if key.starts_with("perch") => theme.native,
            _ => theme.other,
        };
        let top = ROW.mul_add(at as f64, TOP);
        let (middle, line) = (top + ROW / 2.0, top + ROW / 2.0 + 4.5);
        let [median, least, most] = [bar.median, bar.least, bar.most].map(|figure| figure.mul_add(scale, LEFT));
        let _ = write!(
            svg,
            "<text x=\"{:.0}\" y=\"{line:.1}\" fill=\"{text}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\" rx=\"2\"/>\n\
             <path d=\"M{least:.1} {middle:.1}H{most:.1}\" stroke=\"{muted}\" stroke-width=\"1.5\"/>\n\
             <text x=\"{:.1}\" y=\"{line:.1}\" fill=\"{text}\">{:.2}</text>\n",
            LEFT - 8.0,
            escaped(bar.label),
            top + 4.0,
            median - LEFT,
            ROW - 8.0,
            most.max(median) + 6.0,
            bar.median,
        );
    }
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"{:.0}\" fill=\"{muted}\" font-size=\"11\">1 KiB, one item, HTTP/1.1, one gateway core at \
         saturation; {}</text>\n</svg>\n",
        bottom + 20.0,
        escaped(machine),
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn gateways_are_drawn_in_order_and_those_that_were_not_measured_left_out() {
        let row = |key: &str, median: f64| {
            json!({ "gateway": key, "label": format!("<{key}>"),
                    "saturated": { "cpu_vs_none": { "median": median, "least": median, "most": median } } })
        };
        let absent = json!({ "gateway": "lua", "label": "x", "saturated": { "cpu_vs_none": { "median": null } } });
        let results = json!({ "rows": [row("perch_0", 1.25), row("none", 1.0), absent] });
        let bars = bars(&results);
        assert_eq!(bars.iter().map(|bar| bar.key).collect::<Vec<_>>(), ["none", "perch_0"]);
        for theme in &THEMES {
            let svg = draw(&bars, "a & b", theme);
            assert!(svg.contains("&lt;perch_0&gt;") && svg.contains("a &amp; b") && svg.contains(">1.25<"), "{svg}");
        }
    }
}
