//! What is printed, letter by letter: stored statements are compared with what a later release would print.

use super::content::{Closing, Content, Party, Previous, Row, is_reserved};
use super::document::StatementDocument;
use super::documents_of;
use super::tables::{self, journal_csv};
use crate::settings::ClearingAccount;
use attribution::statement::{ExactAmounts, LineKey, state};
use domain::Currency;
use domain::money::parse_atoms;
use domain::tenant::IDLE;
use std::collections::BTreeMap;

/// Consumer, category, charge category, exact amount in dollars; all in pool `west`.
type Given<'a> = (&'a str, &'a str, &'a str, &'a str);

const FIRST: [Given<'static>; 3] = [
    ("acme", "compute", "Usage", "33.333333333333333"),
    ("acme", "", "Tax", "0.001"),
    (IDLE, "compute", "Usage", "0.666666666666667"),
];

fn atoms(text: &str) -> i128 {
    parse_atoms(text).expect("an amount").atoms
}

fn content(version: i64, given: &[Given<'_>], previous: Option<&Content>) -> Content {
    let mut amounts = ExactAmounts::new();
    for (consumer, category, charge_category, amount) in given {
        let line =
            LineKey { pool: "west".into(), category: (*category).into(), charge_category: (*charge_category).into() };
        amounts.entry((*consumer).into()).or_default().insert(line, atoms(amount));
    }
    let acme = Party {
        name: Some("Acme, Inc.".to_owned()),
        billing_mode: Some("chargeback".to_owned()),
        cost_center: Some("CC-1".to_owned()),
        gl_account: None,
    };
    let previous = previous.map(|previous| {
        let number = previous.closing.number();
        let text = document(previous, None).to_text();
        Previous { amounts: StatementDocument::printed_amounts(&text, &number).expect("our own text"), number }
    });
    Content {
        closing: Closing {
            month: "2026-10".parse().expect("a month"),
            version,
            posting: 11 + version,
            booked_at: "2026-11-03T09:00:00Z".parse().expect("an instant"),
            ledger_head: "sha256:ab".to_owned(),
        },
        statements: BTreeMap::from([(Currency::USD, state(Currency::USD, amounts))]),
        parties: BTreeMap::from([("acme".to_owned(), acme)]),
        previous,
    }
}

/// The rows of everybody, or of a tenant.
fn rows(content: &Content, tenant: Option<&str>) -> Vec<Row> {
    content.rows().into_iter().filter(|row| tenant.is_none_or(|tenant| *row.key.consumer == *tenant)).collect()
}

fn document(content: &Content, tenant: Option<&str>) -> StatementDocument {
    StatementDocument::of(content, tenant, &rows(content, tenant))
}

fn statement_csv(content: &Content, tenant: Option<&str>) -> String {
    tables::statement_csv(content, tenant, &rows(content, tenant))
}

fn clearing() -> ClearingAccount {
    ClearingAccount { cost_center: "IT".to_owned(), gl_account: String::new() }
}

#[test]
fn a_statement_is_printed_like_this() {
    let csv = statement_csv(&content(1, &FIRST, None), None);
    let expected = "number,month,version,posting,ledger_head,currency,consumer,name,billing_mode,cost_center,gl_account,\
                    pool,category,charge_category,amount,exact,rounding,previous,difference\r\n\
                    ST-2026-10-1,2026-10,1,12,sha256:ab,USD,__idle__,,,,,west,compute,Usage,0.67,0.666666666666667,\
                    0.003333333333333,,\r\n\
                    ST-2026-10-1,2026-10,1,12,sha256:ab,USD,acme,\"Acme, Inc.\",chargeback,CC-1,,west,,Tax,0.00,0.001,\
                    -0.001,,\r\n\
                    ST-2026-10-1,2026-10,1,12,sha256:ab,USD,acme,\"Acme, Inc.\",chargeback,CC-1,,west,compute,Usage,33.33,\
                    33.333333333333333,-0.003333333333333,,\r\n";
    assert_eq!(csv, expected);
}

#[test]
fn a_tenants_own_statement_is_printed_like_this_and_tells_of_nobody_else() {
    let text = document(&content(1, &FIRST, None), Some("acme")).to_text();
    let expected = concat!(
        r#"{"number":"ST-2026-10-1","month":"2026-10","version":1,"replaces":null,"tenant":"acme","posting":12,"#,
        r#""closed_at":"2026-11-03T09:00:00Z","ledger_head":null,"#,
        r#""totals":[{"currency":"USD","amount":"33.33","exact":"33.334333333333333","rounding":"-0.004333333333333","#,
        r#""previous":null,"difference":null}],"#,
        r#""consumers":[{"currency":"USD","consumer":"acme","name":"Acme, Inc.","billing_mode":"chargeback","#,
        r#""cost_center":"CC-1","gl_account":null,"amount":"33.33","exact":"33.334333333333333","#,
        r#""rounding":"-0.004333333333333"}],"#,
        r#""rows":[{"currency":"USD","consumer":"acme","pool":"west","category":"","charge_category":"Tax","#,
        r#""amount":"0.00","exact":"0.001","rounding":"-0.001"},"#,
        r#"{"currency":"USD","consumer":"acme","pool":"west","category":"compute","charge_category":"Usage","#,
        r#""amount":"33.33","exact":"33.333333333333333","rounding":"-0.003333333333333"}],"differences":null}"#,
        "\n"
    );
    assert_eq!(text, expected);
    let csv = statement_csv(&content(1, &FIRST, None), Some("acme"));
    assert!(!csv.contains(IDLE) && !csv.contains("sha256:") && csv.contains("acme"), "{csv}");
}

#[test]
fn the_journal_is_printed_like_this_and_balances() {
    let csv = journal_csv(&content(1, &FIRST, None), &clearing());
    let expected = "number,line,month,date,currency,consumer,name,billing_mode,cost_center,gl_account,debit,credit,missing\r\n\
                    ST-2026-10-1,1,2026-10,2026-10-31,USD,__idle__,,central,IT,,0.67,0.00,gl_account\r\n\
                    ST-2026-10-1,2,2026-10,2026-10-31,USD,__idle__,,central,IT,,0.00,0.67,gl_account\r\n\
                    ST-2026-10-1,3,2026-10,2026-10-31,USD,acme,\"Acme, Inc.\",chargeback,CC-1,,33.33,0.00,gl_account\r\n\
                    ST-2026-10-1,4,2026-10,2026-10-31,USD,acme,\"Acme, Inc.\",chargeback,IT,,0.00,33.33,gl_account\r\n";
    assert_eq!(csv, expected);
    let credit = journal_csv(&content(1, &[("acme", "", "Credit", "-5.00")], None), &clearing());
    assert!(credit.contains("CC-1,,0.00,5.00,") && credit.contains("IT,,5.00,0.00,"), "{credit}");
}

#[test]
fn a_second_version_says_what_the_first_one_printed() {
    let first = content(1, &FIRST, None);
    let second = content(2, &[("acme", "compute", "Usage", "40.00"), ("globex", "", "Usage", "1.00")], Some(&first));
    let printed = document(&second, None);
    assert_eq!((printed.number.as_str(), printed.replaces.as_deref()), ("ST-2026-10-2", Some("ST-2026-10-1")));
    let differences: Vec<(&str, &str, &str, &str, &str)> = printed
        .differences
        .iter()
        .flatten()
        .map(|row| {
            let (consumer, category) = (row.consumer.as_str(), row.charge_category.as_str());
            (consumer, category, row.previous.as_str(), row.amount.as_str(), row.difference.as_str())
        })
        .collect();
    // The tax of 0.00 printed nothing, so it left nothing behind.
    let expected = [
        (IDLE, "Usage", "0.67", "0.00", "-0.67"),
        ("acme", "Usage", "33.33", "40.00", "6.67"),
        ("globex", "Usage", "0.00", "1.00", "1.00"),
    ];
    assert_eq!(differences, expected);
    let total = &printed.totals[0];
    let texts = (total.amount.as_str(), total.previous.as_deref(), total.difference.as_deref());
    assert_eq!(texts, ("41.00", Some("34.00"), Some("7.00")));
    assert!(printed.rows.iter().all(|row| row.consumer != IDLE), "a line that is gone is no line");
    let csv = statement_csv(&second, None);
    assert!(csv.contains("__idle__,,,,,west,compute,Usage,0.00,0.00,0.00,0.67,-0.67\r\n"), "{csv}");
    let own = document(&second, Some("globex"));
    assert_eq!(own.differences.map(|differences| differences.len()), Some(1));
}

#[test]
fn every_tenant_that_either_version_names_has_documents_of_its_own() {
    let first = content(1, &FIRST, None);
    let second = content(2, &[("globex", "", "Usage", "1.00")], Some(&first));
    let names: Vec<(String, String)> =
        documents_of(&second, &clearing()).into_iter().map(|document| (document.tenant, document.format)).collect();
    let expected = [("", "journal"), ("", "json"), ("", "csv"), ("acme", "json"), ("acme", "csv")];
    let expected = expected.into_iter().chain([("globex", "json"), ("globex", "csv")]);
    assert!(names.iter().map(|(tenant, format)| (tenant.as_str(), format.as_str())).eq(expected), "{names:?}");
    assert!(names.iter().all(|(tenant, _)| !is_reserved(tenant)));
}
