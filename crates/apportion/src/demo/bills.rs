//! Two providers' bills in FOCUS 1.2: one in dollars with a commitment, tax and credits, one in euros.

use super::tenants::{CLUSTERS, Tenant};
use super::{File, Plan, busy_percent, micros, vary};
use domain::{Day, Month};
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Columns of the files, in order.
const HEADER: &str = "BillingAccountId,BillingAccountName,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,\
ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ChargeClass,ChargeDescription,ChargeFrequency,BilledCost,EffectiveCost,\
ContractedCost,ListCost,ProviderName,PublisherName,InvoiceIssuerName,ServiceCategory,ServiceName,RegionId,SubAccountId,\
SubAccountName,ResourceId,PricingCategory,CommitmentDiscountStatus,CommitmentDiscountId,InvoiceId,Tags";

/// Who sends a bill.
struct Provider {
    name: &'static str,
    account: &'static str,
    currency: &'static str,
    region: &'static str,
    file: &'static str,
}

const AWS: Provider =
    Provider { name: "AWS", account: "100200300400", currency: "USD", region: "us-west-2", file: "aws" };
const GOOGLE: Provider =
    Provider { name: "Google Cloud", account: "01AB-23CD", currency: "EUR", region: "europe-west4", file: "google" };

/// One charge.
struct Line<'a> {
    days: (Day, Day),
    category: &'a str,
    service: (&'a str, &'a str),
    sub_account: &'a str,
    billed: i64,
    effective: i64,
    commitment: &'a str,
    tags: &'a [(&'a str, &'a str)],
}

impl Line<'static> {
    /// A day's usage of a service.
    const fn usage(day: Day, service: (&'static str, &'static str), sub_account: &'static str, amount: i64) -> Self {
        Self {
            days: (day, day),
            category: "Usage",
            service,
            sub_account,
            billed: amount,
            effective: amount,
            commitment: "",
            tags: &[],
        }
    }
}

/// Returns the files of both providers, one per month.
pub fn generate(plan: &Plan, tenants: &[Tenant], model_micros: &BTreeMap<Day, i64>) -> [Vec<File>; 2] {
    let mut random = plan.random(3);
    let (mut aws, mut google) = (Vec::new(), Vec::new());
    for (month, first, last) in months_of(plan) {
        let mut text = format!("{HEADER}\n");
        for day in (first.epoch_days()..=last.epoch_days()).map(Day::from_epoch_days) {
            aws_day(&mut text, &mut random, plan, tenants, month, day);
            let models = model_micros.get(&day).copied().unwrap_or(0);
            let billed = models * 103 / 100;
            write_line(
                &mut text,
                &AWS,
                month,
                &Line::usage(day, ("AI and Machine Learning", "Amazon Bedrock"), "platform", billed),
            );
        }
        aws_month(&mut text, &mut random, month, first, last);
        aws.push(file_of(&AWS, month, text));
        let mut text = format!("{HEADER}\n");
        for day in (first.epoch_days()..=last.epoch_days()).map(Day::from_epoch_days) {
            google_day(&mut text, &mut random, plan, tenants, month, day);
        }
        let tax = Line { category: "Tax", days: (first, last), ..Line::usage(first, ("Other", "Tax"), "", 41_500_000) };
        write_line(&mut text, &GOOGLE, month, &tax);
        google.push(file_of(&GOOGLE, month, text));
    }
    [aws, google]
}

fn file_of(provider: &Provider, month: Month, text: String) -> File {
    File { name: format!("{}-{month}.csv", provider.file), text }
}

/// Returns each month of the plan with its first and last day inside the plan.
fn months_of(plan: &Plan) -> Vec<(Month, Day, Day)> {
    let days = plan.range();
    let mut months = Vec::new();
    let mut month = days.from().month();
    while month <= days.to().month() {
        months.push((month, month.first_day().max(days.from()), month.last_day().min(days.to())));
        month = month.next();
    }
    months
}

/// A day of the two American clusters, their logs and databases.
fn aws_day(text: &mut String, random: &mut StdRng, plan: &Plan, tenants: &[Tenant], month: Month, day: Day) {
    let busy = busy_percent(plan, day);
    for (cluster, size) in [(CLUSTERS[0], 100), (CLUSTERS[1], 70)] {
        let tags = [("cluster", cluster)];
        let services = [
            (("Compute", "Amazon Elastic Compute Cloud"), 118_000_000),
            (("Storage", "Amazon Elastic Block Store"), 21_400_000),
            (("Networking", "AWS Data Transfer"), 6_250_000),
        ];
        for (service, amount) in services {
            let amount = vary(random, amount * size / 100 * (50 + busy / 2) / 100);
            let usage = Line::usage(day, service, "platform", amount);
            write_line(text, &AWS, month, &Line { tags: &tags, ..usage });
        }
    }
    // Covered by the commitment: nothing is billed, the effective cost is its part of the purchase.
    let covered = Line::usage(day, ("Compute", "Amazon Elastic Compute Cloud"), "platform", 0);
    let covered = Line { effective: 30_000_000, commitment: "Used", tags: &[("cluster", CLUSTERS[0])], ..covered };
    write_line(text, &AWS, month, &covered);
    let logs = [
        (("Management and Governance", "AmazonCloudWatch"), 17_900_000, ("purpose", "logs")),
        (("Storage", "Amazon Simple Storage Service"), 12_300_000, ("purpose", "logs")),
    ];
    for (service, amount, tag) in logs {
        let usage = Line::usage(day, service, "observability", vary(random, amount * busy / 100));
        write_line(text, &AWS, month, &Line { tags: &[tag], ..usage });
    }
    // Keys that no pool takes: the leaderboard shows them as unattributed.
    let keys = Line::usage(day, ("Security", "AWS Key Management Service"), "platform", vary(random, 910_000));
    write_line(text, &AWS, month, &keys);
    databases(text, random, &AWS, "Amazon Relational Database Service", tenants.iter().step_by(4), month, day);
}

/// One database per given tenant, tagged with its team, and one that nobody tagged.
fn databases<'t>(
    text: &mut String,
    random: &mut StdRng,
    provider: &Provider,
    service: &'static str,
    owners: impl Iterator<Item = &'t Tenant>,
    month: Month,
    day: Day,
) {
    for owner in owners {
        let tags = [("team", owner.id.as_str())];
        let amount = vary(random, 2_000_000 + owner.size_percent * 24_000);
        write_line(
            text,
            provider,
            month,
            &Line { tags: &tags, ..Line::usage(day, ("Databases", service), "data", amount) },
        );
    }
    write_line(text, provider, month, &Line::usage(day, ("Databases", service), "data", vary(random, 1_350_000)));
}

/// What comes once a month: commitment, support, a contract, credit and tax.
fn aws_month(text: &mut String, random: &mut StdRng, month: Month, first: Day, last: Day) {
    let days = i64::from(last.epoch_days() - first.epoch_days() + 1);
    let over = |service: (&'static str, &'static str), amount: i64| Line {
        days: (first, last),
        ..Line::usage(first, service, "platform", amount)
    };
    let purchase = over(("Compute", "Amazon Elastic Compute Cloud"), 30_000_000 * days);
    let purchase = Line { category: "Purchase", effective: 0, tags: &[("cluster", CLUSTERS[0])], ..purchase };
    write_line(text, &AWS, month, &purchase);
    let support = vary(random, 9_700_000) * days;
    write_line(text, &AWS, month, &over(("Other", "AWS Support"), support));
    write_line(text, &AWS, month, &over(("Other", "AWS Marketplace"), 25_000_000 * days));
    let credit = over(("Other", "Promotional credit"), -3_333_333 * days);
    write_line(text, &AWS, month, &Line { category: "Credit", ..credit });
    let tax = over(("Other", "Tax"), vary(random, 18_000_000) * days);
    write_line(text, &AWS, month, &Line { category: "Tax", ..tax });
}

/// A day of the European cluster and its databases.
fn google_day(text: &mut String, random: &mut StdRng, plan: &Plan, tenants: &[Tenant], month: Month, day: Day) {
    let busy = busy_percent(plan, day);
    let services = [
        (("Compute", "Compute Engine"), 74_000_000),
        (("Storage", "Persistent Disk"), 11_900_000),
        (("Networking", "Network Egress"), 5_100_000),
    ];
    for (service, amount) in services {
        let usage = Line::usage(day, service, "platform-eu", vary(random, amount * (50 + busy / 2) / 100));
        write_line(text, &GOOGLE, month, &Line { tags: &[("cluster", CLUSTERS[2])], ..usage });
    }
    databases(text, random, &GOOGLE, "Cloud SQL", tenants.iter().skip(1).step_by(5), month, day);
}

fn write_line(text: &mut String, provider: &Provider, month: Month, line: &Line<'_>) {
    let (period, next) = (month.first_day(), month.next().first_day());
    let (start, end) = (line.days.0, line.days.1.plus(1));
    let frequency = match line.category {
        "Purchase" => "Recurring",
        "Usage" => "Usage-Based",
        _ => "One-Time",
    };
    let tags: Vec<String> = line.tags.iter().map(|(key, value)| format!("\"\"{key}\"\":\"\"{value}\"\"")).collect();
    let tags = if tags.is_empty() { String::new() } else { format!("\"{{{}}}\"", tags.join(",")) };
    let (service_category, service) = line.service;
    let commitment = if line.commitment.is_empty() { "" } else { "commitment-1" };
    let pricing = if line.commitment.is_empty() { "Standard" } else { "Committed" };
    let (billed, effective) = (micros(line.billed), micros(line.effective));
    let Provider { name, account, currency, region, file } = provider;
    writeln!(
        text,
        "{account},Example Org,{currency},{period}T00:00:00Z,{next}T00:00:00Z,{start}T00:00:00Z,{end}T00:00:00Z,\
         {category},,{service},{frequency},{billed},{effective},{effective},{effective},{name},{name},{name},\
         {service_category},{service},{region},{sub},{sub},,{pricing},{status},{commitment},{file}-{month},{tags}",
        category = line.category,
        sub = line.sub_account,
        status = line.commitment,
    )
    .expect("a string can be written");
}
