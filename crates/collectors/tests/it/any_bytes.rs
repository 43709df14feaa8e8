use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use collectors::error::ImportError;
use collectors::focus::{InputFile, read_focus};
use collectors::limits::ImportLimits;
use proptest::prelude::*;

use super::support::{HEADER, csv, ten_rows};

/// Reads bytes as a bill; a panic fails the test, an error does not.
fn read(bytes: &[u8]) -> Result<u64, ImportError> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("a written file");
    let input = InputFile { name: "any".to_owned(), path: file.path().to_path_buf() };
    let limits = ImportLimits { decoded_bytes_max: 1 << 20, row_bytes_max: 1 << 16, ..ImportLimits::default() };
    let mut rows = 0;
    read_focus(&input, &limits, &Arc::new(AtomicU64::new(0)), &mut |line, _| {
        rows += 1;
        assert!(line.billing_period_start() < line.billing_period_end());
        assert!(line.currency().code().len() == 3);
        Ok(())
    })?;
    Ok(rows)
}

fn compressed(bytes: &[u8], how: u8) -> Vec<u8> {
    match how % 3 {
        0 => bytes.to_vec(),
        1 => zstd::encode_all(bytes, 1).expect("zstd"),
        _ => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("gzip")
        }
    }
}

/// Headers of AWS, Azure and Google Cloud.
const FOREIGN: [&str; 3] = [
    "line_item_line_item_type,line_item_unblended_cost,line_item_currency_code,line_item_usage_start_date,\
     line_item_usage_account_id,bill_payer_account_id,bill_billing_period_start_date,line_item_net_unblended_cost,\
     savings_plan_savings_plan_effective_cost,savings_plan_used_commitment,reservation_unused_recurring_fee,\
     resource_tags,product,pricing_unit,line_item_usage_amount",
    "CostInBillingCurrency,ChargeType,Date,BillingAccountId,BillingPeriodStartDate,MeterCategory,BillingCurrency,\
     BillingPeriodEndDate,Frequency,Tags,Quantity,UnitOfMeasure,PayGPrice,BenefitId,PublisherName",
    "billing_account_id,invoice,cost_type,usage_start_time,cost,currency,credits,labels,tags,project,service,sku,usage,\
     usage_end_time,cost_at_list",
];
/// What such cells look like, and what they do not.
const FOREIGN_CELL: &str = "\\PC{0,12}|[-+0-9.eE]{1,12}|NULL|USD|Usage|RIFee|SavingsPlanRecurringFee|regular|2026-11-0[1-9]|\
                            1[0-2]/[0-9]{1,2}/2026|\\{\"month\":\"[0-9]{6}\"\\}|\
                            \\[\\{\"amount\":[-0-9.e]{1,6},\"key\":\"a\",\"value\":\"b\"\\}\\]";

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        drop(read(&bytes));
    }

    #[test]
    fn any_cells_are_read_or_refused(cells in proptest::collection::vec("\\PC{0,20}|[-+0-9.eE]{1,20}|NULL|\\{\"a\":.{0,8}\\}", 12)) {
        let quoted: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        drop(read(format!("{HEADER}\n{}\n", quoted.join(",")).as_bytes()));
    }

    #[test]
    fn any_cells_of_a_cloud_are_read_or_refused(
        header in prop::sample::select(FOREIGN.to_vec()),
        cells in proptest::collection::vec(FOREIGN_CELL, 15),
    ) {
        let quoted: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        drop(read(format!("{header}\n{}\n", quoted.join(",")).as_bytes()));
    }

    #[test]
    fn any_json_is_read_or_refused(text in "\\{(\"(BilledCost|Tags|x|BillingCurrency)\":([0-9.eE-]{1,9}|\"\\PC{0,9}\"|\\[[0-9,]{0,5}\\]),?){0,6}\\}") {
        drop(read(text.as_bytes()));
    }

    /// A good bill with bytes changed, cut or compressed: read or refused.
    #[test]
    fn a_damaged_bill_is_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        keep in any::<prop::sample::Index>(),
        how in 0..3_u8,
        inside in any::<bool>(),
    ) {
        let mut bytes = csv(&ten_rows()).into_bytes();
        if !inside {
            bytes = compressed(&bytes, how);
        }
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(keep.index(bytes.len()) + 1);
        let bytes = if inside { compressed(&bytes, how) } else { bytes };
        if let Ok(rows) = read(&bytes) {
            prop_assert!(rows <= 11);
        }
    }
}
