use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// The total printed on a provider's invoice, as somebody entered it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct InvoiceRow {
    /// The source of the cost lines that it bills.
    pub source: String,
    /// Billing period, `YYYY-MM`.
    pub billing_month: String,
    /// Its number, as in the lines' InvoiceId.
    pub invoice_id: String,
    /// ISO-4217 code.
    pub currency: String,
    /// Decimal text.
    pub total: String,
    /// Day of issue.
    pub issued_on: Option<String>,
    /// Day by which it must be paid.
    pub due_on: Option<String>,
    /// Free text.
    pub note: Option<String>,
    /// Who entered it.
    pub entered_by: String,
    /// When.
    pub entered_at: i64,
}

impl Catalog {
    /// Enters an invoice, or replaces what was entered of it before, and returns what that was. Entering the same again
    /// changes nothing, also not who entered it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_invoice(&self, invoice: &InvoiceRow) -> Result<Option<InvoiceRow>, CatalogError> {
        let mut tx = self.begin().await?;
        let sql = "SELECT * FROM invoices WHERE source = $1 AND billing_month = $2 AND invoice_id = $3";
        let before: Option<InvoiceRow> = sqlx::query_as(sql)
            .bind(&invoice.source)
            .bind(&invoice.billing_month)
            .bind(&invoice.invoice_id)
            .fetch_optional(&mut *tx)
            .await?;
        if before.as_ref().is_some_and(|before| before.says_the_same(invoice)) {
            return Ok(before);
        }
        sqlx::query(
            "INSERT INTO invoices (source, billing_month, invoice_id, currency, total, issued_on, due_on, note, \
             entered_by, entered_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
             ON CONFLICT (source, billing_month, invoice_id) DO UPDATE SET currency = excluded.currency, \
             total = excluded.total, issued_on = excluded.issued_on, due_on = excluded.due_on, note = excluded.note, \
             entered_by = excluded.entered_by, entered_at = excluded.entered_at",
        )
        .bind(&invoice.source)
        .bind(&invoice.billing_month)
        .bind(&invoice.invoice_id)
        .bind(&invoice.currency)
        .bind(&invoice.total)
        .bind(&invoice.issued_on)
        .bind(&invoice.due_on)
        .bind(&invoice.note)
        .bind(&invoice.entered_by)
        .bind(invoice.entered_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(before)
    }

    /// The invoice of that source, billing month and number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invoice(&self, source: &str, month: &str, id: &str) -> Result<Option<InvoiceRow>, CatalogError> {
        let sql = "SELECT * FROM invoices WHERE source = $1 AND billing_month = $2 AND invoice_id = $3";
        Ok(sqlx::query_as(sql).bind(source).bind(month).bind(id).fetch_optional(&self.read).await?)
    }

    /// Up to `limit` invoices in order of (billing month, source, number), after the key `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_invoices(
        &self,
        after: Option<(&str, &str, &str)>,
        limit: i64,
    ) -> Result<Vec<InvoiceRow>, CatalogError> {
        let (month, source, id) = after.unwrap_or(("", "", ""));
        let sql = "SELECT * FROM invoices WHERE billing_month > $1 OR (billing_month = $1 AND (source > $2 \
                   OR (source = $2 AND invoice_id > $3))) ORDER BY billing_month, source, invoice_id LIMIT $4";
        Ok(sqlx::query_as(sql).bind(month).bind(source).bind(id).bind(limit).fetch_all(&self.read).await?)
    }

    /// The invoices of these billing months, both included, in order of (billing month, source, number).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invoices_between(&self, first: &str, last: &str) -> Result<Vec<InvoiceRow>, CatalogError> {
        let sql = "SELECT * FROM invoices WHERE billing_month >= $1 AND billing_month <= $2 \
                   ORDER BY billing_month, source, invoice_id";
        Ok(sqlx::query_as(sql).bind(first).bind(last).fetch_all(&self.read).await?)
    }
}

impl InvoiceRow {
    /// Returns whether both state the same, whoever entered it when.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        *self == Self { entered_by: self.entered_by.clone(), entered_at: self.entered_at, ..other.clone() }
    }
}
