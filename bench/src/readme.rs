//! Writes results: raw to `bench/results`, as tables to `bench/README.md`.

use std::fs;

use serde_json::Value;

use crate::machine::root;
use crate::report::Report;

pub fn write(report: &Report, machine: &Value) {
    let name = report.name;
    let results = root().join("bench/results");
    fs::create_dir_all(&results).unwrap();
    let text = serde_json::to_string_pretty(&report.json(machine)).unwrap();
    fs::write(results.join(format!("{name}.json")), text + "\n").unwrap();

    let file = root().join("bench/README.md");
    let text = fs::read_to_string(&file).unwrap();
    let (begin, end) = (format!("<!-- results: {name} -->\n"), "<!-- end -->");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("bench/README.md has no {begin}"));
    let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("bench/README.md has no {end} after {begin}"));
    fs::write(&file, format!("{before}{begin}{}{end}{after}", report.markdown(machine))).unwrap();
}
