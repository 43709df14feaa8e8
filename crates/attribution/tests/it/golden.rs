use attribution::split::split_exact;
use num_bigint::BigUint;
use std::collections::BTreeMap;

#[test]
fn every_golden_case_comes_out_to_the_last_atom() {
    let file: serde_json::Value = serde_json::from_str(include_str!("split.json")).expect("JSON");
    let cases = file["cases"].as_array().expect("cases");
    for case in cases {
        check(case);
    }
    println!("{} golden cases", cases.len());
    assert!(cases.len() > 10);
}

fn check(case: &serde_json::Value) {
    let name = case["name"].as_str().expect("a name");
    let pool = case["pool"].as_str().expect("a decimal");
    // A cell's key is its fields in order; the map's byte order is the order in which ties are broken.
    let weights: Vec<BigUint> = keyed(&case["cells"]).values().map(|weight| magnitude(weight)).collect();
    let shares = split_exact(atoms(pool), &weights);
    let expected =
        case["expect"].as_array().map(|_| keyed(&case["expect"]).values().map(|share| atoms(share)).collect());
    assert_eq!(shares, expected, "{name}");
}

fn keyed(cells: &serde_json::Value) -> BTreeMap<Vec<&str>, &str> {
    let mut keyed = BTreeMap::new();
    for cell in cells.as_array().expect("cells") {
        let mut fields: Vec<&str> =
            cell.as_array().expect("a cell").iter().map(|field| field.as_str().expect("text")).collect();
        let value = fields.pop().expect("a cell has a value");
        keyed.insert(fields, value);
    }
    keyed
}

fn atoms(text: &str) -> i128 {
    let atoms = i128::try_from(magnitude(text.trim_start_matches('-'))).expect("golden amounts fit");
    if text.starts_with('-') { -atoms } else { atoms }
}

/// The decimal in units of 10⁻¹⁵; some golden weights are wider than any stored number.
fn magnitude(text: &str) -> BigUint {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<15}").parse().expect("a decimal of at most fifteen fractional digits")
}
