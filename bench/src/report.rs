//! The figures of a benchmark, as JSON and as a table.

use serde_json::{Value, json};

/// The target of a row.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// One figure, with a value for each round.
#[derive(Debug, Clone)]
pub struct Row {
    what: String,
    unit: &'static str,
    values: Vec<f64>,
    target: Option<Target>,
}

/// The figures of one benchmark.
#[derive(Debug)]
pub struct Report {
    pub name: &'static str,
    rows: Vec<Row>,
    /// Figures that could not be measured, with the reason.
    not_run: Vec<(String, String)>,
}

impl Row {
    fn sorted(&self) -> Vec<f64> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values
    }

    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    fn lowest(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    fn highest(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    fn reached(&self) -> Option<bool> {
        Some(match self.target? {
            Target::AtLeast(least) => self.median() >= least,
            Target::AtMost(most) => self.median() <= most,
        })
    }

    fn cells(&self) -> String {
        let show = |value| number(value, self.unit);
        let target = match self.target {
            None => String::new(),
            Some(Target::AtLeast(least)) => format!("at least {}", show(least)),
            Some(Target::AtMost(most)) => format!("at most {}", show(most)),
        };
        let reached = self.reached().map_or("", |reached| if reached { "yes" } else { "**no**" });
        format!(
            "| {} | {} | {} - {} | {target} | {reached} |",
            self.what,
            show(self.median()),
            show(self.lowest()),
            show(self.highest())
        )
    }
}

impl Report {
    pub fn new(name: &'static str) -> Report {
        Report { name, rows: Vec::new(), not_run: Vec::new() }
    }

    /// Adds a figure, with one value for each round.
    pub fn row(&mut self, what: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Row {
        let row = Row { what: what.into(), unit, values, target: None };
        println!("{}", row.cells());
        self.rows.push(row.clone());
        row
    }

    /// Adds a figure that is computed from others, round by round.
    pub fn derived(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        of: &[&Row],
        combine: impl Fn(&[f64]) -> f64,
        target: Option<Target>,
    ) {
        let rounds = of.iter().map(|row| row.values.len()).min().unwrap_or_default();
        let values = (0..rounds).map(|round| {
            let parts: Vec<f64> = of.iter().map(|row| row.values[round]).collect();
            combine(&parts)
        });
        let row = Row { what: what.into(), unit, values: values.collect(), target };
        println!("{}", row.cells());
        self.rows.push(row);
    }

    /// Adds the ratio of `a` to `b`.
    pub fn ratio(&mut self, what: impl Into<String>, a: &Row, b: &Row, target: Option<Target>) {
        self.derived(what, "x", &[a, b], |parts| parts[0] / parts[1], target);
    }

    /// Sets the target of the last row.
    pub fn target(&mut self, target: Target) {
        if let Some(row) = self.rows.last_mut() {
            row.target = Some(target);
            println!("{}", row.cells());
        }
    }

    pub fn not_run(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        println!("{what}: not run: {why}");
        self.not_run.push((what, why));
    }

    pub fn json(&self, machine: &Value) -> Value {
        let rows = self.rows.iter().map(|row| {
            let target = match row.target {
                None => Value::Null,
                Some(Target::AtLeast(least)) => json!({ "atLeast": least }),
                Some(Target::AtMost(most)) => json!({ "atMost": most }),
            };
            json!({
                "what": row.what, "unit": row.unit, "median": row.median(), "values": row.values,
                "target": target, "reached": row.reached(),
            })
        });
        let not_run = self.not_run.iter().map(|(what, why)| json!({ "what": what, "why": why }));
        json!({
            "name": self.name, "machine": machine,
            "rows": rows.collect::<Vec<_>>(), "notRun": not_run.collect::<Vec<_>>(),
        })
    }

    pub fn markdown(&self, machine: &Value) -> String {
        let text = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
        let mut out = format!(
            "Measured {} on {}, {} cores, {} rounds, load average {} before the run.\n\n",
            text("when"),
            text("processor"),
            machine["cores"],
            machine["rounds"],
            text("load")
        );
        out.push_str("| what | median | lowest - highest | target | reached |\n|---|---|---|---|---|\n");
        for row in &self.rows {
            out.push_str(&row.cells());
            out.push('\n');
        }
        for (what, why) in &self.not_run {
            out.push_str(&format!("| {what} | not run: {why} | | | |\n"));
        }
        out
    }
}

/// Formats a value with its unit and about three significant digits.
fn number(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        large if large >= 1000.0 => return format!("{}{}", thousands(value), suffix(unit)),
        large if large >= 100.0 => 0,
        large if large >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{}", suffix(unit))
}

fn suffix(unit: &str) -> String {
    if unit == "x" { "x".to_owned() } else { format!(" {unit}") }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
