use crate::cases;
use crate::given::Given;
use attribution::split::{split_exact, split_small};
use num_bigint::BigUint;
use proptest::collection::vec;
use proptest::prelude::*;

/// A trillion currency units in atoms.
const POOL_ATOMS_MAX: i128 = 10_i128.pow(27);

proptest! {
    #![proptest_config(cases(2_000))]

    /// Whatever the cost and the weights: nothing is lost, nothing is below its floor, idle cells pay nothing.
    #[test]
    fn c1_shares_add_up_and_lie_within_one_atom_of_the_exact_quotient(
        amount in -POOL_ATOMS_MAX..POOL_ATOMS_MAX,
        weights in vec(prop_oneof![Just(0_u128), 1..10_u128, any::<u128>()], 1..40),
    ) {
        let weights: Vec<BigUint> = weights.into_iter().map(BigUint::from).collect();
        let total: BigUint = weights.iter().sum();
        prop_assume!(total > BigUint::default());
        let shares = split_exact(amount, &weights).expect("some weight is positive");
        prop_assert_eq!(shares.iter().sum::<i128>(), amount);
        for (share, weight) in shares.iter().zip(&weights) {
            let floor = weight * amount.unsigned_abs() / &total;
            let share = BigUint::from(share.unsigned_abs());
            prop_assert!(share == floor || share == floor.clone() + 1_u8);
            prop_assert!(*weight != BigUint::default() || share == BigUint::default());
        }
    }

    /// A credit is the mirror of a cost.
    #[test]
    fn the_sign_is_restored(amount in 0..POOL_ATOMS_MAX, weights in vec(0..1_000_u64, 1..20)) {
        let mirrored = split_small(-amount, &weights).map(|shares| shares.into_iter().map(|share| -share).collect::<Vec<_>>());
        prop_assert_eq!(split_small(amount, &weights), mirrored);
    }

    /// Multiplying all weights by one factor changes nothing.
    #[test]
    fn the_unit_of_weights_cancels(amount in 0..POOL_ATOMS_MAX, weights in vec(0..1_000_u64, 1..20), factor in 1..u64::MAX) {
        let scaled: Vec<BigUint> = weights.iter().map(|weight| BigUint::from(*weight) * factor).collect();
        prop_assert_eq!(split_small(amount, &weights), split_exact(amount, &scaled));
    }

    /// Lines and usage may arrive in any order and in any pieces.
    #[test]
    fn c7_the_order_of_inputs_never_matters(seed in vec((0..3_usize, 0..4_usize, -500..5_000_i64), 1..30)) {
        let build = |rows: &[(usize, usize, i64)]| {
            let mut given = Given::policy(
                "[[tenant_rule]]\ntenant='{sub_account}'\n\
                 [[pool]]\nname='w'\nkind='cluster'\nselect={service='s0'}\nsplit={method='weighted',weights={cpu_core_hours='0.5',network_gib='0.3'}}\ncapacity={cpu_core_hours='9'}\n\
                 [[pool]]\nname='d'\nselect={service='s1'}\nsplit={method='direct'}\n\
                 [[pool]]\nname='t'\nselect={}\nsplit={method='by_cost',follow='invoice'}",
            );
            for (service, tenant, amount) in rows {
                let (service, tenant) = (format!("s{service}"), format!("t{tenant}"));
                let cost = format!("{}.{:02}", amount / 100, (amount % 100).abs());
                given = given.line(&cost, &cost, &[("service", &service), ("sub_account", &tenant)]);
                let used = amount.abs().to_string();
                given = given.usage("cpu_core_hours", &used, &[("tenant", &tenant), ("cluster", "w")]);
            }
            given.attribute().pools.into_iter().map(|pool| pool.shares).collect::<Vec<_>>()
        };
        let mut reversed = seed.clone();
        reversed.reverse();
        prop_assert_eq!(build(&seed), build(&reversed));
    }
}
