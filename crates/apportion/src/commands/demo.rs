//! `demo`: seeded data in a temporary folder, attributed, proved and served.

use super::interrupt::Begun;
use super::{Context, attribute, import, serve};
use crate::cli::DemoArgs;
use crate::client::{Call, Client};
use crate::config::Config;
use crate::demo::{Demo, Plan};
use crate::exit::{Exit, Failure};
use crate::output::{plain, rows_of};
use anyhow::{Context as _, Result};
use axum::body::Body;
use domain::money::{format_atoms, parse_atoms};
use domain::{Clock as _, Day, DayRange};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where the demo listens unless told otherwise.
const LISTEN: &str = "127.0.0.1:8082";
/// Rows of the printed leaderboard.
const TOP: &str = "10";

/// Runs `demo`.
pub async fn run(context: &Context, args: DemoArgs) -> Result<Exit> {
    let last_day = last_day_of(&args, domain::Zone::utc().day_of(crate::wiring::WallClock.now()))?;
    let plan = Plan { tenants: args.tenants, days: args.days, seed: args.seed, last_day };
    let (folder, _temporary) = folder_of(&args)?;
    let say = |text: &str| context.output.note(text);
    say(&format!("making {} tenants and {} days of data, seed {} ...", plan.tenants, plan.days, plan.seed));
    let demo = Demo::generate(&plan);
    demo.write(&folder).context("cannot write the demo's files")?;
    let config = config_of(&folder);
    let store = crate::wiring::open_local(&config).await?;
    let client = Client::Local(store.router.clone());
    let prepare = async {
        load(context, &client, &demo, &folder, &config).await?;
        print_result(context, &client, plan.range(), demo.sample_days).await
    };
    let exit = tokio::select! {
        exit = prepare => exit?,
        _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
    };
    if args.no_serve {
        return Ok(exit);
    }
    let listener = match (&args.listen, serve::bind(LISTEN).await) {
        (Some(address), _) => serve::bind(address).await?,
        (None, Ok(listener)) => listener,
        (None, Err(_)) => serve::bind("127.0.0.1:0").await?,
    };
    let signals = serve::StopSignals::listen()?;
    context.output.text(&format!("url    {}", serve::url_of(&listener, "/")?))?;
    // The folder was empty, so that there is a first token unless one is given.
    let token = store.first_token.as_deref().unwrap_or("the one of the environment");
    context.output.text(&format!("token  {token}"))?;
    say("stop with Ctrl-C");
    serve::serve_store(listener, &store, &config, signals).await
}

/// Returns the last day of the data.
fn last_day_of(args: &DemoArgs, today: Day) -> Result<Day, Failure> {
    let Some(text) = &args.until else { return Ok(today.plus(-1)) };
    let refuse = |detail: String| Failure::new(Exit::Conflict, format!("--until: {detail}"));
    let day: Day = text.parse().map_err(|error: domain::time::TimeError| refuse(error.to_string()))?;
    if today < day { Err(refuse(format!("{day} is after today, {today}"))) } else { Ok(day) }
}

/// Returns the demo's folder; a temporary one goes away with the second part, unless nothing is served.
fn folder_of(args: &DemoArgs) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    match &args.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            if std::fs::read_dir(folder)?.next().is_some() {
                let message = format!("{} is not empty; the demo needs a new or empty folder", folder.display());
                return Err(Failure::new(Exit::Conflict, message).into());
            }
            Ok((folder.clone(), None))
        }
        None => {
            let temporary = tempfile::Builder::new().prefix("apportion-demo-").tempdir()?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}

fn config_of(folder: &Path) -> Config {
    let mut config = Config::default();
    config.org.name = "Demo".to_owned();
    config.storage.data = folder.join("apportion-data");
    config.files.policy = folder.join("policy.toml");
    config.files.rates = folder.join("rates.toml");
    config.files.meters = folder.join("meters.toml");
    config
}

/// Hands everything to the API, as a person with the command line would.
async fn load(context: &Context, client: &Client, demo: &Demo, folder: &Path, config: &Config) -> Result<()> {
    let say = |text: &str| context.output.note(text);
    let shown = context.output.shows_progress();
    crate::publish::publish_files(client, config, true).await?;
    for tenant in &demo.tenants {
        client.json(Call::put(format!("/tenants/{}", tenant.id)).json(&tenant.body())).await?;
    }
    client.json(Call::put("/fx-rates").body("text/csv", Body::from(demo.fx_csv.clone()))).await?;
    for cost in &demo.fixed_costs {
        client.json(Call::post("/fixed-costs").json(cost)).await?;
    }
    for source in &demo.sources {
        let files: Vec<PathBuf> = source.files.iter().map(|file| folder.join(&file.name)).collect();
        let report = import::import_focus(client, &files, source.name, true, shown).await?;
        say(&format!("imported {} rows of {}", plain(&report["rows"]), source.name));
    }
    let report = import::import_events(client, Body::from(demo.events.clone())).await?;
    say(&format!("imported {} usage events", plain(&report["accepted"])));
    for (night, body) in &demo.snapshots {
        client.json(Call::put(format!("/snapshots/{night}")).query("source", "app").json(body)).await?;
    }
    say(&format!("stored {} nightly snapshots of the workspaces", demo.snapshots.len()));
    for range in [demo.sample_days, demo.days] {
        let body = json!({ "from": range.from().to_string(), "to": range.to().to_string() });
        say(&format!("attributing {} to {} ...", range.from(), range.to()));
        let run = attribute::start_and_wait(client, &body, shown, &Begun::new()).await?;
        attribute::exit_of_run(&run)?;
    }
    Ok(())
}

/// Prints the leaderboard, whether its rows sum to the cost lines, and the last line of the proof.
async fn print_result(context: &Context, client: &Client, days: DayRange, sample: DayRange) -> Result<Exit> {
    let call = |limit: &str| {
        Call::get("/costs")
            .query("from", days.from())
            .query("to", days.to())
            .query("group_by", "tenant")
            .query("limit", limit)
    };
    let top = client.json(call(TOP)).await?;
    context.output.text(&format!("\nwho costs how much, {} to {}:", days.from(), days.to()))?;
    let table = crate::output::Output { format: crate::cli::Format::Table, ..context.output };
    table.answer(&json!({ "rows": rows_of(&top).unwrap_or_default() }), &["tenant", "cost", "share"])?;
    let mut reconciled =
        print_sum(context, "\nrows sum to the imported cost lines", &client.json(call("10000")).await?)?;
    let with_sample = Call::get("/costs").query("from", sample.from()).query("to", days.to()).query("limit", "10000");
    reconciled &= print_sum(context, "with the real sample of 2024", &client.json(with_sample).await?)?;
    let proof = print_proof(context, client, days.to()).await?;
    Ok(if reconciled && proof { Exit::Ok } else { Exit::Partial })
}

/// Prints the sum of the rows beside the cost lines and returns whether they are equal.
fn print_sum(context: &Context, title: &str, costs: &Value) -> Result<bool> {
    let rows = rows_of(costs).unwrap_or_default();
    let sum = sum_of(rows, "cost")?;
    let difference = sum - atoms_of(&plain(&costs["meta"]["conservation"]["cost_lines"]))?;
    context.output.text(&format!(
        "{title}: {} {} in {} rows, difference {}",
        format_atoms(sum),
        plain(&costs["meta"]["currency"]),
        rows.len(),
        format_atoms(difference)
    ))?;
    Ok(difference == 0)
}

async fn print_proof(context: &Context, client: &Client, day: Day) -> Result<bool> {
    let range = DayRange::single(day);
    let query = [("from", range.from().to_string()), ("to", range.to().to_string())];
    let rows = client.all_rows("/ledger/proof", &query).await?;
    let proved = rows.iter().rfind(|row| row["memo"] != json!(true));
    let Some(last) = proved else { return Ok(false) };
    let part = |name: &str| plain(&last[name]);
    context.output.text(&format!(
        "last line of the proof: {} {} {} {}: in {} = shares {} + idle {} + unattributed {} + unconsumed {} + variance {} + overhead {}, difference {}\n",
        part("charge_date"), part("pool"), part("measure"), part("currency"), part("amount_in"), part("shares"),
        part("idle"), part("unattributed"), part("unconsumed"), part("variance"), part("overhead"), part("difference"),
    ))?;
    Ok(rows.iter().all(|row| row["state"] == json!("proved")))
}

fn sum_of(rows: &[Value], name: &str) -> Result<i128> {
    rows.iter().map(|row| atoms_of(&plain(&row[name]))).sum()
}

fn atoms_of(text: &str) -> Result<i128> {
    Ok(parse_atoms(text).with_context(|| format!("`{text}` is not an amount"))?.atoms)
}
