//! `adjust`: moving cost from one tenant to another.

use super::Context;
use crate::cli::AdjustArgs;
use crate::client::Call;
use crate::exit::Exit;
use anyhow::Result;
use serde_json::json;

/// Runs `adjust`.
pub async fn run(context: &Context, args: AdjustArgs) -> Result<Exit> {
    let body = json!({
        "charge_date": args.date,
        "from_tenant": args.from_tenant,
        "to_tenant": args.to_tenant,
        "amount": args.amount,
        "currency": args.currency,
        "reason": args.reason,
        "reference": args.reference,
    });
    let call = Call::post("/adjustments").idempotency_key(args.idempotency_key.as_deref())?.json(&body);
    let client = context.client().await?;
    context.print(&client, call, &[]).await
}
