use crate::given::{Given, money, quantity};

const CLUSTER: &str = "[[pool]]\nname='west'\nkind='cluster'\nselect={tags.cluster='west'}\n\
    split={method='weighted',weights={cpu_core_hours='0.5',memory_gib_hours='0.3',storage_gib_hours='0.15',network_gib='0.05'}}\n";

fn worked_example(extra: &str) -> Given {
    let mut given = Given::policy(&format!("{CLUSTER}{extra}")).line("100.00", "90.00", &[("tags.cluster", "west")]);
    for (tenant, quantities) in [("acme", ["10", "40", "100", "2"]), ("globex", ["30", "20", "50", "8"])] {
        for (meter, amount) in
            ["cpu_core_hours", "memory_gib_hours", "storage_gib_hours", "network_gib"].into_iter().zip(quantities)
        {
            given = given.usage(meter, amount, &[("tenant", tenant), ("cluster", "west")]);
        }
        given = given.usage("cpu_core_hours", "1000", &[("tenant", tenant), ("cluster", "east")]);
    }
    given
}

#[test]
fn the_worked_example_of_the_weighted_method_comes_out_digit_by_digit() {
    assert_eq!(
        worked_example("").shares(),
        [
            "west acme cpu_core_hours 8.19672131147541",
            "west acme memory_gib_hours 19.672131147540984",
            "west acme network_gib 0.163934426229508",
            "west acme storage_gib_hours 24.590163934426229",
            "west globex cpu_core_hours 24.590163934426229",
            "west globex memory_gib_hours 9.836065573770492",
            "west globex network_gib 0.655737704918033",
            "west globex storage_gib_hours 12.295081967213115",
        ]
    );
}

#[test]
fn idle_capacity_is_a_consumer_unless_it_is_spread() {
    let capacity = "capacity={cpu_core_hours='4'}\n";
    let idle = |rows: Vec<String>| rows.into_iter().filter(|row| row.contains("__idle__")).collect::<Vec<_>>();
    // 4 × 24 − 40 = 56 core-hours × 0.5 = 28 of 61 + 28 = 89.
    assert_eq!(idle(worked_example(capacity).shares()), ["west __idle__ cpu_core_hours 31.460674157303371"]);
    assert_eq!(idle(worked_example(&format!("{capacity}idle='spread'\n")).shares()), Vec::<String>::new());
}

#[test]
fn c5_use_above_capacity_is_reported_and_never_reduced() {
    let given = worked_example("capacity={cpu_core_hours='1'}\n");
    assert_eq!(given.shares(), worked_example("").shares());
    assert!(
        given
            .attribute()
            .findings
            .iter()
            .any(|finding| finding.code == "over_capacity" && finding.detail.contains("40 used of a capacity of 24"))
    );
}

#[test]
fn c5_without_usage_the_cost_is_unattributed_and_with_capacity_idle() {
    let line = |given: Given| given.line("10.00", "10.00", &[("tags.cluster", "west")]).shares();
    assert_eq!(line(Given::policy(CLUSTER)), ["west __unattributed__ 10.00"]);
    assert_eq!(
        line(Given::policy(&format!("{CLUSTER}capacity={{cpu_core_hours='1'}}\nidle='spread'"))),
        ["west __idle__ cpu_core_hours 10.00"]
    );
}

#[test]
fn resource_shares_make_resources_comparable() {
    let pool = "[[pool]]\nname='p'\nselect={}\nsplit={method='weighted',normalize='resource_share',weights={cpu_core_hours='0.5',network_gib='0.5'}}";
    let given = Given::policy(pool)
        .line("100", "0", &[])
        .usage("cpu_core_hours", "1", &[("tenant", "a")])
        .usage("cpu_core_hours", "3", &[("tenant", "b")])
        .usage("network_gib", "1000", &[("tenant", "a")]);
    assert_eq!(given.shares(), ["p a cpu_core_hours 12.50", "p a network_gib 50.00", "p b cpu_core_hours 37.50"]);
}

#[test]
fn direct_lines_go_whole_to_their_tenant() {
    let rules = "[[tenant_rule]]\nwhen={tags.Owner='team-*'}\ntenant='{tags.Owner}'\n[[tenant_rule]]\ntenant='acct-{sub_account}'\n";
    let given = Given::policy(&format!("{rules}[[pool]]\nname='p'\nselect={{}}\nsplit={{method='direct'}}"))
        .line("1", "0", &[("tags.Owner", "team-a"), ("sub_account", "7")])
        .line("2", "0", &[("tags.Owner", "other"), ("sub_account", "7")])
        .line("4", "0", &[]);
    assert_eq!(given.shares(), ["p __unattributed__ 4.00", "p acct-7 2.00", "p team-a 1.00"]);
}

#[test]
fn even_counts_active_tenants_and_those_with_usage() {
    let given = Given::policy("[[pool]]\nname='p'\nselect={}\nsplit={method='even'}")
        .line("1.00", "1.00", &[])
        .active(&["a", "b"])
        .usage("log_queries", "0", &[("tenant", "c")]);
    assert_eq!(given.shares(), ["p a 0.333333333333334", "p b 0.333333333333333", "p c 0.333333333333333"]);
}

#[test]
fn even_of_users_counts_each_user_once() {
    let given = Given::policy("[[pool]]\nname='p'\nselect={}\nsplit={method='even',of='users'}")
        .line("3.00", "3.00", &[])
        .usage("log_queries", "5", &[("tenant", "a"), ("user", "x")])
        .usage("log_queries", "1", &[("tenant", "a"), ("user", "y")])
        .usage("mcp_reads", "1", &[("tenant", "a"), ("user", "y")])
        .usage("mcp_reads", "1", &[("tenant", "b"), ("user", "x")]);
    assert_eq!(given.shares(), ["p a 2.00", "p b 1.00"]);
}

#[test]
fn fixed_percents_leave_a_named_remainder() {
    let given = Given::policy("[[pool]]\nname='p'\nselect={}\nsplit={method='fixed',percent={a='60',b='15.5'}}").line(
        "10",
        "0",
        &[],
    );
    assert_eq!(given.shares(), ["p __unattributed__ 2.45", "p a 6.00", "p b 1.55"]);
}

#[test]
fn an_unused_commitment_is_idle_by_percentage() {
    let policy = "[[pool]]\nname='p'\nselect={}\nsplit={method='fixed',percent={a='25',__idle__='75'}}";
    let given = Given::policy(policy).line("10", "0", &[]);
    assert_eq!(given.shares(), ["p __idle__ 7.50", "p a 2.50"]);
    let outcome = given.attribute();
    let reasons: Vec<_> = outcome.pools[0].shares.iter().map(|share| share.reason).collect();
    assert_eq!(reasons, [Some("unused_commitment"), None]);
}

#[test]
fn rated_memo_cells_are_quantity_times_price() {
    let given = Given::policy("[[pool]]\nname='llm'\nsplit={method='rated',by=['tenant','workflow'],meters=['llm_tokens']}")
        .rates("[[price]]\nmeter='llm_tokens'\nprice='0.000003'\nlabels={model='big'}\n[[price]]\nmeter='llm_tokens'\nprice='0.000001'")
        .usage("llm_tokens", "1000", &[("tenant", "a"), ("workflow", "w"), ("label:model", "big")])
        .usage("llm_tokens", "500", &[("tenant", "a"), ("workflow", "w")])
        .usage("llm_tokens", "1", &[("tenant", "a")]);
    assert_eq!(given.shares(), ["llm a/ llm_tokens 0.000001", "llm a/w llm_tokens 0.0035"]);
    assert!(given.attribute().pools[0].memo);
}

#[test]
fn a_recovering_pool_sums_to_its_lines_by_variance() {
    let given =
        Given::policy("[[pool]]\nname='llm'\nrecovers={provider='X'}\nsplit={method='rated',meters=['llm_tokens']}")
            .rates("[[price]]\nmeter='llm_tokens'\nprice='0.01'")
            .usage("llm_tokens", "700", &[("tenant", "a")])
            .line("10.00", "12.00", &[("provider", "X")])
            .line("1.00", "1.00", &[("provider", "X"), ("charge_category", "Tax")]);
    let outcome = given.attribute();
    let shares: Vec<_> = outcome.pools[0].shares.iter().map(|share| (share.amount, share.billed)).collect();
    assert_eq!(given.shares(), ["llm __variance__ 1.00", "llm a llm_tokens 7.00", "llm __variance__ 3.00"]);
    assert_eq!(shares, [(money("1"), money("1")), (money("7"), money("7")), (money("3"), money("5"))]);
}

#[test]
fn a_recovering_pool_without_lines_sums_to_nothing() {
    let given =
        Given::policy("[[pool]]\nname='llm'\nrecovers={provider='X'}\nsplit={method='rated',meters=['llm_tokens']}")
            .rates("[[price]]\nmeter='llm_tokens'\nprice='0.01'")
            .usage("llm_tokens", "700", &[("tenant", "a")]);
    assert_eq!(given.shares(), ["llm a llm_tokens 7.00", "llm __variance__ -7.00"]);
}

#[test]
fn by_cost_follows_what_other_pools_cost() {
    let pools = "[[tenant_rule]]\ntenant='{sub_account}'\n\
        [[pool]]\nname='tax'\nselect={charge_category='Tax'}\nsplit={method='by_cost',of=['own']}\n\
        [[pool]]\nname='own'\nselect={}\nsplit={method='direct'}";
    let given = Given::policy(pools)
        .line("10", "0", &[("sub_account", "a")])
        .line("30", "0", &[("sub_account", "b"), ("charge_category", "Purchase")])
        .line("7", "0", &[("sub_account", "b"), ("charge_category", "Credit")])
        .line("4", "4", &[("charge_category", "Tax")]);
    assert_eq!(given.shares()[..2], ["tax a 1.00", "tax b 3.00"]);
}

#[test]
fn following_the_invoice_narrows_to_the_same_origin_until_a_cell_remains() {
    let pools = "[[tenant_rule]]\ntenant='{tags.team}'\n[[pool]]\nname='own'\nselect={charge_category='Usage'}\nsplit={method='direct'}\n\
        [[pool]]\nname='tax'\nselect={charge_category='Tax'}\nsplit={method='by_cost',follow='invoice'}";
    let of = |team: &'static str, account: &'static str, service: &'static str| {
        [("tags.team", team), ("sub_account", account), ("service", service)]
    };
    let tax = |account: &'static str, service: &'static str| {
        [("charge_category", "Tax"), ("sub_account", account), ("service", service)]
    };
    let given = Given::policy(pools)
        .line("10", "0", &of("a", "1", "EC2"))
        .line("10", "0", &of("b", "1", "S3"))
        .line("10", "0", &of("c", "2", "S3"))
        .line("3", "0", &tax("1", "EC2"))
        .line("4", "0", &tax("1", "RDS"))
        .line("6", "0", &tax("9", "RDS"));
    // EC2 of account 1 is a's; RDS has no cost there, so account 1 decides; account 9 is unknown, so the source decides.
    assert_eq!(sum(&given, "tax a"), money("7"));
    assert_eq!(sum(&given, "tax b"), money("4"));
    assert_eq!(sum(&given, "tax c"), money("2"));
}

fn sum(given: &Given, prefix: &str) -> i128 {
    let rows = given.shares();
    let of_prefix = rows.iter().filter(|row| row.starts_with(prefix));
    of_prefix.map(|row| money(row.rsplit(' ').next().expect("an amount"))).sum()
}

#[test]
fn lines_no_pool_takes_are_named_by_service() {
    let given = Given::policy("").line("5", "5", &[("service", "EC2")]).line("6", "6", &[]);
    let outcome = given.attribute();
    assert_eq!(given.shares(), ["unattributed __unattributed__ 6.00", "unattributed __unattributed__ 5.00"]);
    assert_eq!(outcome.pools[0].shares[1].labels.get("service").map(|service| &**service), Some("EC2"));
    assert_eq!(outcome.pools[0].shares[1].reason, Some("no_pool"));
}

#[test]
fn a_missing_rate_leaves_the_pool_alone() {
    let pools = "[[pool]]\nname='eur'\nselect={provider='E'}\nsplit={method='even'}\n[[pool]]\nname='usd'\nselect={}\nsplit={method='even'}";
    let given = Given::policy(pools).active(&["a"]).line("5", "5", &[("provider", "E"), ("currency", "EUR")]).line(
        "1",
        "1",
        &[],
    );
    let outcome = given.attribute();
    assert_eq!(outcome.pools[0].not_run.as_ref().map(|not_run| not_run.code), Some("fx_missing"));
    assert_eq!(given.shares(), ["usd a 1.00"]);
    let converted = given.rate("EUR", "USD", "1.1").attribute();
    assert_eq!(converted.pools[0].shares[0].reporting, money("5.5"));
}

#[test]
fn c5_a_negative_driver_weighs_nothing_and_is_listed() {
    let given = Given::policy("[[pool]]\nname='p'\nselect={}\nsplit={method='proportional',meter='log_queries'}")
        .line("10", "0", &[])
        .usage("log_queries", "-5", &[("tenant", "a")])
        .usage("log_queries", "5", &[("tenant", "b")]);
    assert_eq!(given.shares(), ["p b log_queries 10.00"]);
    assert!(given.attribute().findings.iter().any(|finding| finding.code == "negative_driver"));
}

#[test]
fn a_fixed_cost_belongs_to_its_own_pool_before_file_order() {
    let pools = "[[pool]]\nname='all'\nselect={}\nsplit={method='even'}\n\
        [[pool]]\nname='temporal'\ntier='overhead'\nfixed={provider='own',amount='310',currency='USD',per='month',from=2026-01-01}";
    let given = Given::policy(pools).line("10", "10", &[("source", "fixed"), ("tags.apportion:pool", "temporal")]);
    assert_eq!(given.shares(), ["temporal __overhead__ 10.00"]);
}

#[test]
fn a_pool_with_a_capacity_that_weighs_nothing_is_all_idle() {
    let pool = |rest: &str| {
        format!(
            "[[pool]]\nname='p'\nselect={{}}\nsplit={{method='weighted',weights={{cpu_core_hours='1',memory_gib_hours='0'}}}}\n{rest}"
        )
    };
    // Nothing measured the capacity.
    let unmeasured = Given::policy(&pool("capacity={cpu_core_hours='node_cores'}")).line("10.00", "10.00", &[]);
    assert_eq!(unmeasured.shares(), ["p __idle__ 10.00"]);
    // What was used has no weight, so there is nobody over whom idle could be spread.
    let weightless = Given::policy(&pool("capacity={cpu_core_hours='1'}\nidle='spread'"))
        .line("10.00", "10.00", &[])
        .usage("memory_gib_hours", "5", &[("tenant", "a")]);
    assert_eq!(weightless.shares(), ["p __idle__ cpu_core_hours 10.00"]);
}

#[test]
fn a_user_counts_once_in_each_consumer_whatever_the_order_of_usage() {
    let given = |workflows: [&str; 2]| {
        let mut given =
            Given::policy("[[pool]]\nname='p'\nselect={}\nsplit={method='even',of='users',by=['tenant','workflow']}")
                .line("4.00", "4.00", &[]);
        for workflow in workflows {
            given = given.usage("mcp_reads", "1", &[("tenant", "a"), ("user", "x"), ("workflow", workflow)]);
        }
        given.shares()
    };
    assert_eq!(given(["w1", "w2"]), ["p a/w1 2.00", "p a/w2 2.00"]);
    assert_eq!(given(["w2", "w1"]), given(["w1", "w2"]));
}

#[test]
fn negative_usage_at_one_price_reduces_the_cell_that_it_belongs_to() {
    let given = |negative: &str| {
        Given::policy("[[pool]]\nname='p'\nsplit={method='rated',meters=['llm_tokens']}")
            .rates("[[price]]\nmeter='llm_tokens'\nprice='3'\nlabels={model='big'}\n[[price]]\nmeter='llm_tokens'\nprice='1'")
            .usage("llm_tokens", "8", &[("tenant", "a")])
            .usage("llm_tokens", negative, &[("tenant", "a"), ("label:model", "big")])
    };
    assert_eq!(given("-2").shares(), ["p a llm_tokens 2.00"]);
    assert_eq!(given("-3").shares(), Vec::<String>::new());
    assert!(given("-3").attribute().findings.iter().any(|finding| finding.code == "negative_driver"));
}

#[test]
fn a_refused_tenant_is_not_handed_on_to_a_later_rule() {
    let rules = "[[tenant_rule]]\ntenant='{tags.team}'\n[[tenant_rule]]\ntenant='rest'\n";
    let given = Given::policy(&format!("{rules}[[pool]]\nname='p'\nselect={{}}\nsplit={{method='direct'}}"))
        .line("1", "1", &[("tags.team", "refused")])
        .line("2", "2", &[("tags.team", "__invalid")])
        .line("4", "4", &[]);
    assert_eq!(given.shares(), ["p __unattributed__ 1.00", "p rest 6.00"]);
}

#[test]
fn converted_direct_shares_do_not_depend_on_the_categories_of_lines() {
    let atoms = |atoms: usize| format!("0.{atoms:015}");
    let line = |given: Given, tenant, category, amount: usize| {
        let values = [("sub_account", tenant), ("service_category", category), ("currency", "EUR")];
        given.line(&atoms(amount), "0", &values)
    };
    let given = Given::policy(
        "[[tenant_rule]]\ntenant='{sub_account}'\n[[pool]]\nname='p'\nselect={}\nsplit={method='direct'}",
    )
    .rate("EUR", "USD", "1.25");
    let given = line(line(line(given, "a", "Compute", 1), "a", "Storage", 1), "b", "Compute", 2);
    let outcome = given.attribute();
    let converted = outcome.pools[0].shares.iter().map(|share| share.reporting);
    // 4 atoms become 5; a and b hold two each, so the odd one goes to a.
    assert_eq!(converted.collect::<Vec<_>>(), [2, 1, 2]);
}

#[test]
fn the_invoice_is_followed_through_pools_that_do_not_follow_it_themselves() {
    let pools = "[[tenant_rule]]\ntenant='{tags.team}'\n\
        [[pool]]\nname='one'\nselect={service='EC2',sub_account='1'}\nsplit={method='direct'}\n\
        [[pool]]\nname='two'\nselect={service='EC2',sub_account='2'}\nsplit={method='direct'}\n\
        [[pool]]\nname='care-one'\nselect={service='Care',sub_account='1'}\nsplit={method='by_cost',of=['one']}\n\
        [[pool]]\nname='care-two'\nselect={service='Care',sub_account='2'}\nsplit={method='by_cost',of=['two']}\n\
        [[pool]]\nname='tax'\nselect={charge_category='Tax'}\nsplit={method='by_cost',follow='invoice',of=['care-one','care-two']}";
    let mut given = Given::policy(pools);
    for (team, account) in [("a", "1"), ("b", "2")] {
        given = given.line("10", "0", &[("tags.team", team), ("sub_account", account), ("service", "EC2")]).line(
            "5",
            "0",
            &[("sub_account", account), ("service", "Care")],
        );
    }
    let given = given.line("3", "0", &[("charge_category", "Tax"), ("sub_account", "1")]);
    assert_eq!(sum(&given, "tax a"), money("3"));
}

#[test]
fn a_share_that_a_row_cannot_hold_refuses_its_pool() {
    let mut given = Given::policy(
        "[[tenant_rule]]\ntenant='{sub_account}'\n[[pool]]\nname='p'\nselect={}\nsplit={method='direct'}",
    );
    for (tenant, amount) in [("a", "1000000000000"), ("b", "-1000000000000")].repeat(2) {
        given = given.line(amount, amount, &[("sub_account", tenant)]);
    }
    let outcome = given.attribute();
    assert_eq!(outcome.pools[0].not_run.as_ref().map(|not_run| not_run.code), Some("out_of_bound"));
}

fn not_run(given: &Given, pool: usize) -> Option<&'static str> {
    given.attribute().pools[pool].not_run.as_ref().map(|not_run| not_run.code)
}

#[test]
fn what_costs_nothing_needs_no_rate() {
    let pools = "[[pool]]\nname='llm'\nrecovers={provider='X'}\nsplit={method='rated',meters=['llm_*']}\n\
        [[pool]]\nname='memo'\nsplit={method='rated'}\n[[pool]]\nname='rest'\nselect={}\nsplit={method='none'}\ntier='overhead'";
    let in_euro = |given: Given| Given {
        reporting: domain::Currency::EUR,
        ..given.rates("[[price]]\nmeter='mcp_reads'\nprice='1'")
    };
    let empty = in_euro(Given::policy(pools));
    assert!(empty.attribute().pools.iter().all(|pool| pool.not_run.is_none() && pool.components.is_empty()));
    let free = in_euro(Given::policy(pools)).usage("llm_tokens", "5", &[("tenant", "a")]).line("0", "0", &[]);
    assert_eq!([0, 1, 2].map(|pool| not_run(&free, pool)), [None; 3]);
    assert_eq!(free.attribute().pools[1].shares[0].quantity, Some(quantity("5")));
    let used = in_euro(Given::policy(pools)).usage("mcp_reads", "5", &[("tenant", "a")]);
    assert_eq!([0, 1, 2].map(|pool| not_run(&used, pool)), [None, Some("fx_missing"), None]);
    // What cancels out is money all the same.
    let account = |account| [("sub_account", account), ("provider", "X")];
    let credited = in_euro(Given::policy(pools)).line("5", "5", &account("1")).line("-5", "-5", &account("2"));
    assert_eq!(not_run(&credited, 0), Some("fx_missing"));
}

#[test]
fn quantities_stand_with_usage_whatever_is_credited_beside_it() {
    let given = Given::policy("[[pool]]\nname='p'\nselect={}\nsplit={method='proportional',meter='log_queries'}")
        .usage("log_queries", "5", &[("tenant", "a")])
        .line("-1", "-1", &[("charge_category", "Credit")]);
    let stands_with = |given: &Given| {
        let shares = given.attribute().pools.remove(0).shares;
        let measured = shares.into_iter().filter(|share| share.quantity.is_some());
        measured.map(|share| share.component.charge_category.expect("a category").to_string()).collect::<Vec<_>>()
    };
    assert_eq!(stands_with(&given), ["Credit"]);
    assert_eq!(stands_with(&given.line("10", "10", &[])), ["Usage"]);
}

#[test]
fn a_reserved_consumer_of_a_base_keeps_its_reason() {
    let pools = "[[tenant_rule]]\ntenant='{tags.team}'\n\
        [[pool]]\nname='own'\nselect={service='EC2'}\nsplit={method='direct'}\n\
        [[pool]]\nname='unused'\nselect={service='RI'}\nsplit={method='fixed',percent={__idle__='100'}}\n\
        [[pool]]\nname='care'\nselect={}\nsplit={method='by_cost'}";
    let given = Given::policy(pools)
        .line("10", "0", &[("service", "EC2")])
        .line("10", "0", &[("service", "EC2"), ("tags.team", "a")])
        .line("20", "0", &[("service", "RI")])
        .line("4", "0", &[]);
    assert_eq!(given.shares()[3..], ["care __idle__ 2.00", "care __unattributed__ 1.00", "care a 1.00"]);
    let reasons: Vec<_> = given.attribute().pools[2].shares.iter().map(|share| share.reason).collect();
    assert_eq!(reasons, [Some("unused_commitment"), Some("no_mapping"), None]);
}

#[test]
fn what_is_recovered_is_followed_by_the_lines_it_recovers() {
    let pools = "[[pool]]\nname='llm'\nrecovers={provider='X'}\nsplit={method='rated',meters=['llm_tokens']}\n\
        [[pool]]\nname='gpu'\nrecovers={provider='Y'}\nsplit={method='rated',meters=['sandbox_seconds']}\n\
        [[pool]]\nname='tax'\nselect={charge_category='Tax'}\nsplit={method='by_cost',follow='invoice'}";
    let of = |provider: &'static str, account: &'static str, category: &'static str| {
        [("provider", provider), ("sub_account", account), ("charge_category", category)]
    };
    let given = Given::policy(pools)
        .rates("[[price]]\nmeter='llm_tokens'\nprice='1'\n[[price]]\nmeter='sandbox_seconds'\nprice='1'")
        .usage("llm_tokens", "8", &[("tenant", "a")])
        .usage("sandbox_seconds", "6", &[("tenant", "b")])
        .line("3", "3", &of("X", "1", "Usage"))
        .line("1", "1", &of("X", "2", "Usage"))
        .line("9", "9", &of("X", "3", "Purchase"))
        .line("5", "5", &of("Y", "2", "Purchase"))
        .line("4", "4", &of("Z", "1", "Tax"))
        .line("4", "4", &of("Z", "2", "Tax"));
    // Account 1 is a's alone. In account 2 a has 8 × 1 ÷ 4 and b, whose pool has no usage lines, all 6.
    assert_eq!((sum(&given, "tax a"), sum(&given, "tax b")), (money("5"), money("3")));
}

#[test]
fn what_no_pool_takes_is_converted_once_and_then_divided_by_service() {
    let line =
        |given: Given, service| given.line("0.000000000000001", "0", &[("service", service), ("currency", "EUR")]);
    let given = line(line(Given::policy(""), "EC2"), "S3");
    let missing = given.attribute();
    assert_eq!(missing.pools[0].not_run.as_ref().map(|not_run| not_run.code), Some("fx_missing"));
    let went_in: Vec<_> = missing.pools[0].components.iter().map(|part| (part.amounts.amount, part.lines)).collect();
    assert_eq!(went_in, [(2, 2)], "the proof shows what was not converted");
    let outcome = given.rate("EUR", "USD", "1.5").attribute();
    assert_eq!(outcome.pools[0].components.iter().map(|part| part.reporting).collect::<Vec<_>>(), [3]);
    let shares: Vec<_> = outcome.pools[0].shares.iter().map(|share| (share.reporting, share.pool_amount)).collect();
    assert_eq!(shares, [(2, 2), (1, 2)]);
}

#[test]
fn a_unit_has_a_price_where_the_cards_own_unit_divides_exactly() {
    let unit_price = |word: &str| {
        let given = Given::policy("[[pool]]\nname='p'\nsplit={method='rated'}")
            .rates(&format!("[[price]]\nmeter='{word}'\nprice='0.10'\nper='unit'"))
            .usage("storage_bytes", "1000000000", &[("tenant", "a")]);
        given.attribute().pools[0].shares[0].unit_price
    };
    assert_eq!(unit_price("storage_bytes"), Some(money("0.1")));
    assert_eq!(unit_price("storage_gb"), Some(money("0.0000000001")));
    assert_eq!(unit_price("storage_gib"), None);
}

#[test]
fn a_meter_that_is_named_needs_a_price_and_one_that_a_glob_finds_is_listed() {
    let given = |meters: &str| {
        Given::policy(&format!("[[pool]]\nname='p'\nsplit={{method='rated',meters=[{meters}]}}"))
            .rates("[[price]]\nmeter='mcp_reads'\nprice='2'")
            .usage("mcp_reads", "3", &[("tenant", "a")])
            .usage("llm_tokens", "7", &[("tenant", "a")])
    };
    for named in ["'llm_tokens'", "'llm_tokens','*'"] {
        assert_eq!(not_run(&given(named), 0), Some("rate_missing"), "{named}");
    }
    for found in ["'*'", "'llm_*','mcp_reads'"] {
        let listed = given(found).attribute().findings;
        assert_eq!(listed.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["unpriced"], "{found}");
        assert_eq!(given(found).shares(), ["p a mcp_reads 6.00"], "{found}");
    }
    assert_eq!(not_run(&given("'sandbox_seconds'"), 0), None, "what nobody used needs no price");
}

#[test]
fn the_empty_where_of_a_cluster_reads_the_usage_of_all_clusters() {
    let given = |split: &str| {
        Given::policy(&format!("[[pool]]\nname='west'\nkind='cluster'\nselect={{}}\nsplit={{method='even'{split}}}"))
            .line("2", "2", &[])
            .usage("mcp_reads", "1", &[("tenant", "a"), ("cluster", "west")])
            .usage("mcp_reads", "1", &[("tenant", "b"), ("cluster", "east")])
            .shares()
    };
    assert_eq!(given(""), ["west a 2.00"]);
    assert_eq!(given(",where={}"), ["west a 1.00", "west b 1.00"]);
}
