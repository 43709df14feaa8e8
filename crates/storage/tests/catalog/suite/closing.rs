use domain::{TenantId, TenantScope};
use storage::catalog::{InvoiceRow, StatementDocumentRow, StatementRow};

use super::open;

fn statement(month: &str, version: i64, posting: i64) -> StatementRow {
    StatementRow {
        month: month.to_owned(),
        version,
        number: format!("ST-{month}-{version}"),
        posting,
        booked_at: posting * 10,
        ledger_head: format!("sha256:h{posting}"),
    }
}

fn document(tenant: &str, format: &str, body: &str) -> StatementDocumentRow {
    StatementDocumentRow {
        tenant: tenant.to_owned(),
        format: format.to_owned(),
        sha256: format!("hash of {body}"),
        body: body.to_owned(),
    }
}

fn invoice(month: &str, source: &str, id: &str, total: &str) -> InvoiceRow {
    InvoiceRow {
        source: source.to_owned(),
        billing_month: month.to_owned(),
        invoice_id: id.to_owned(),
        currency: "USD".to_owned(),
        total: total.to_owned(),
        issued_on: None,
        due_on: Some("2026-11-30".to_owned()),
        note: None,
        entered_by: "finance".to_owned(),
        entered_at: 100,
    }
}

#[tokio::test]
async fn a_statement_is_written_once_and_stays() {
    let (catalog, place) = open().await;
    let first = statement("2026-10", 1, 5);
    let documents = [document("", "json", "all"), document("", "csv", "a,b"), document("acme", "json", "own")];

    assert!(catalog.insert_statement(&first, &documents).await.unwrap());
    assert!(!catalog.insert_statement(&first, &[document("", "json", "another")]).await.unwrap());
    let second = statement("2026-10", 2, 9);
    assert!(catalog.insert_statement(&second, &[document("", "json", "again")]).await.unwrap());

    let other = place.open().await.unwrap();
    let stored = other.statement_all_tenants("2026-10", 1, "json").await.unwrap();
    assert_eq!(stored, Some(document("", "json", "all")));
    assert_eq!(other.statements_of("2026-10").await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(other.list_statements().await.unwrap(), [first, second]);
    assert!(other.statements_of("2026-11").await.unwrap().is_empty());
    let hashes: Vec<(i64, String)> =
        other.statement_hashes_all_tenants().await.unwrap().into_iter().map(|row| (row.version, row.sha256)).collect();
    let hash = |version: i64, text: &str| (version, format!("hash of {text}"));
    assert_eq!(hashes, [hash(1, "a,b"), hash(1, "all"), hash(2, "again")], "tenants' own ones are not listed");
}

#[tokio::test]
async fn a_tenants_statement_is_found_in_its_scope_only() {
    let (catalog, _place) = open().await;
    let documents = [document("", "json", "all"), document("acme", "json", "own")];
    catalog.insert_statement(&statement("2026-10", 1, 5), &documents).await.unwrap();
    let only = |tenant: &str| TenantScope::Only([tenant.parse::<TenantId>().unwrap()].into());
    let found = async |scope: &TenantScope, tenant: &str| {
        catalog.statement_of_tenant(scope, tenant, "2026-10", 1, "json").await.unwrap().map(|row| row.body)
    };
    assert_eq!(found(&only("acme"), "acme").await.as_deref(), Some("own"));
    assert_eq!(found(&only("globex"), "acme").await, None);
    assert_eq!(found(&TenantScope::All, "acme").await.as_deref(), Some("own"));
    assert_eq!(found(&TenantScope::All, "").await, None, "the empty text is no tenant");
}

#[tokio::test]
async fn an_invoice_replaces_itself_and_says_what_it_was() {
    let (catalog, _place) = open().await;
    let first = invoice("2026-10", "aws", "1", "10.00");
    assert_eq!(catalog.put_invoice(&first).await.unwrap(), None);
    let repeated = InvoiceRow { entered_by: "another".to_owned(), entered_at: 200, ..first.clone() };
    assert_eq!(catalog.put_invoice(&repeated).await.unwrap(), Some(first.clone()));
    assert_eq!(catalog.invoice("aws", "2026-10", "1").await.unwrap(), Some(first.clone()), "the same is no change");
    let changed = InvoiceRow { total: "11.00".to_owned(), ..repeated };
    assert_eq!(catalog.put_invoice(&changed).await.unwrap(), Some(first));
    assert_eq!(catalog.invoice("aws", "2026-10", "1").await.unwrap(), Some(changed));
}

#[tokio::test]
async fn pages_of_invoices_miss_none() {
    let (catalog, _place) = open().await;
    let all = [
        invoice("2026-09", "aws", "9", "1.00"),
        invoice("2026-10", "aws", "1", "1.00"),
        invoice("2026-10", "aws", "2", "1.00"),
        invoice("2026-10", "gcp", "1", "1.00"),
        invoice("2026-11", "aws", "1", "1.00"),
    ];
    for invoice in all.iter().rev() {
        catalog.put_invoice(invoice).await.unwrap();
    }
    let mut found: Vec<InvoiceRow> = Vec::new();
    loop {
        let last = found.last().cloned();
        let after = last.as_ref().map(|row| (row.billing_month.as_str(), row.source.as_str(), row.invoice_id.as_str()));
        let page = catalog.list_invoices(after, 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, all);
    assert_eq!(catalog.invoices_between("2026-10", "2026-10").await.unwrap(), all[1..4]);
}
