//! Which files are, together, what an export says of one period.
//!
//! A cloud writes the same period again and again: over the old files, or beside them. Taking two runs together would
//! count everything twice, so a run is taken whole and alone, by its manifest where there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{Day, Instant, Month, Zone};
use sha2::{Digest as _, Sha256};

use super::manifest::{AwsManifest, AzureManifest};
use super::place::{Object, Place};
use crate::providers::{Cause, CollectError};

/// The label of files that no folder assigns to a period.
const ALL: &str = "all";
/// Files of one export of BigQuery are written within this time of each other.
const SHARD_MICROS_MAX: i64 = 6 * 3600 * 1_000_000;

/// Files that together are what an export says of one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportSet {
    /// The period in the export's own words: `2026-11`, or `all`.
    pub label: String,
    /// What tells this content from another.
    pub version: String,
    /// The files, by key.
    pub objects: Vec<Object>,
    /// The manifest that names them, to be read again when they were read.
    pub manifest: Option<Object>,
    /// The run that wrote them, as the manifest names it.
    pub run: String,
    /// When the manifest or the mark arrived that says that nothing is missing.
    pub sealed: Option<Instant>,
}

impl ExportSet {
    fn new(label: &str, run: &str, mut objects: Vec<Object>, manifest: Option<Object>) -> Self {
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        let mut hash = Sha256::new();
        hash.update(run);
        for object in &objects {
            object.digest(&mut hash);
        }
        let version = hex::encode(hash.finalize());
        let sealed = manifest.as_ref().map(|manifest| manifest.arrived);
        Self { label: label.to_owned(), version, objects, manifest, run: run.to_owned(), sealed }
    }

    /// Returns when the newest file was written.
    #[must_use]
    pub fn newest(&self) -> Option<Instant> {
        self.objects.iter().map(|object| object.modified).max()
    }

    /// Returns whether nobody is writing it: what seals it arrived after all files, or none arrived within `settle`.
    #[must_use]
    pub fn is_at_rest(&self, now: Instant, settle: Duration) -> bool {
        let arrived = self.objects.iter().map(|object| object.arrived).max();
        let Some(newest) = arrived else { return true };
        let settle = i64::try_from(settle.as_micros()).unwrap_or(i64::MAX);
        self.sealed.is_some_and(|sealed| newest <= sealed) || newest.micros().saturating_add(settle) <= now.micros()
    }

    /// Returns when its period ends at the latest; files of no period in particular never end.
    #[must_use]
    pub fn end(&self) -> Instant {
        let first = self.label.parse::<Month>().map(Month::first_day).or_else(|_| self.label.parse::<Day>());
        let later = |first: Day| Zone::utc().start_of(first.month().next().last_day().plus(1));
        first.map_or(Instant::from_micros(i64::MAX), later)
    }
}

/// Returns the sets of a place without manifests: one for each folder `billing_period=…`, and one of all other files.
pub(super) fn plain(objects: &[Object]) -> Vec<ExportSet> {
    let mut sets: BTreeMap<&str, Vec<Object>> = BTreeMap::new();
    for object in objects.iter().filter(|object| is_data(object)) {
        sets.entry(partition(object).unwrap_or(ALL)).or_default().push(object.clone());
    }
    sets.into_iter().map(|(label, objects)| ExportSet::new(label, "", objects, None)).collect()
}

/// Returns the sets of a bucket that BigQuery exports to: folders `billing_period=…`, perhaps with a folder for each
/// run in them, of which the last by name counts.
///
/// # Errors
/// [`Cause::Schema`] if shards of an older run lie beside newer ones, or files in no period's folder.
pub(super) fn google(objects: &[Object]) -> Result<Vec<ExportSet>, CollectError> {
    let mut folders: BTreeMap<(&str, &str), Vec<Object>> = BTreeMap::new();
    let mut roots: BTreeMap<&str, &str> = BTreeMap::new();
    for object in objects.iter().filter(|object| is_data(object)) {
        let Some(label) = partition(object) else {
            let key = crate::prometheus::shown(&object.key);
            return Err(CollectError::schema(format!(
                "{key} lies in no folder `billing_period=YYYY-MM`; export each month into one, or use kind `files`"
            )));
        };
        let root = object.key.find(label).map_or("", |at| &object.key[..at]);
        if *roots.entry(label).or_insert(root) != root {
            let roots = crate::prometheus::shown(&format!("{}, {root}", roots[label]));
            return Err(CollectError::schema(format!(
                "several exports have a folder of {label}, which may tell the same money twice: {roots}; name a longer \
                 prefix"
            )));
        }
        folders.entry((label, folder_of(object))).or_default().push(object.clone());
    }
    let is_mark = |object: &&Object| object.name().to_ascii_uppercase().starts_with("_SUCCESS");
    let mut marked: BTreeMap<&str, Instant> = BTreeMap::new();
    for mark in objects.iter().filter(is_mark) {
        let newest = marked.entry(folder_of(mark)).or_insert(mark.arrived);
        *newest = mark.arrived.max(*newest);
    }
    // Where one folder has a mark, those without are under way.
    folders.retain(|(_, folder), _| marked.is_empty() || marked.contains_key(folder));
    // The folders of a period come in the order of their names, and a later one takes the place of an earlier one.
    let last: BTreeMap<&str, (&str, Vec<Object>)> =
        folders.into_iter().map(|((label, folder), objects)| (label, (folder, objects))).collect();
    let mut sets = Vec::new();
    for (label, (folder, objects)) in last {
        check_shards(folder, &objects)?;
        let sealed = marked.get(folder).copied();
        sets.push(ExportSet { sealed, ..ExportSet::new(label, "", objects, None) });
    }
    Ok(sets)
}

fn folder_of(object: &Object) -> &str {
    object.key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// BigQuery overwrites as many shards as it writes; those of a longer run before stay and would count twice.
fn check_shards(folder: &str, objects: &[Object]) -> Result<(), CollectError> {
    let newest = objects.iter().map(|object| object.modified.micros()).max().unwrap_or(0);
    let old = objects.iter().find(|object| object.modified.micros() < newest - SHARD_MICROS_MAX);
    match old {
        None => Ok(()),
        Some(old) => Err(CollectError::schema(format!(
            "{folder}: {} is hours older than the newest file beside it, as if a run before had left it; empty the \
             folder before each export, or export each run to a folder of its own",
            old.name()
        ))),
    }
}

/// A manifest of AWS that counts for its period, not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AwsRef {
    pub label: String,
    pub object: Object,
}

/// Where a manifest of AWS lies.
struct AwsPlace<'a> {
    export: &'a str,
    label: String,
    /// The run's folder, if each run has one.
    run: Option<&'a str>,
}

/// Returns the manifest that counts for each period: of runs with folders of their own the last, unless the one beside
/// them is newer.
///
/// # Errors
/// [`Cause::Schema`] if there are several exports and none is named, or none at all.
pub(super) fn aws_manifests(objects: &[Object], export: Option<&str>) -> Result<Vec<AwsRef>, CollectError> {
    let mut exports = BTreeSet::new();
    let mut best: BTreeMap<String, (Option<&str>, &Object)> = BTreeMap::new();
    for object in objects {
        let Some(place) = aws_place(object) else { continue };
        if export.is_some_and(|export| export != place.export) {
            continue;
        }
        exports.insert(place.export);
        let newer = match best.get(&place.label) {
            None => true,
            Some((Some(run), _)) if is_timed(run) && place.run.is_some_and(is_timed) => Some(*run) < place.run,
            Some((run, other)) => (other.modified, run.is_none()) < (object.modified, place.run.is_none()),
        };
        if newer {
            best.insert(place.label, (place.run, object));
        }
    }
    check_one_export(&exports, export)?;
    Ok(best.into_iter().map(|(label, (_, object))| AwsRef { label, object: object.clone() }).collect())
}

/// Whether the name of a run's folder begins with the time of the run; older reports name them by an id.
fn is_timed(run: &str) -> bool {
    run.bytes().take(4).all(|byte| byte.is_ascii_digit()) && run.contains('T')
}

fn aws_place(object: &Object) -> Option<AwsPlace<'_>> {
    if !object.name().to_ascii_lowercase().ends_with("-manifest.json") {
        return None;
    }
    let parts: Vec<&str> = object.parts().collect();
    let at = parts.iter().rposition(|part| aws_label(part).is_some())?;
    let label = aws_label(parts[at])?;
    // Data exports put a folder `metadata` between the export and its periods, older reports do not.
    let above = parts[..at].iter().rev().find(|part| **part != "metadata").copied().unwrap_or_default();
    let run = (at + 2 < parts.len()).then(|| parts[at + 1]);
    Some(AwsPlace { export: above, label, run })
}

/// `BILLING_PERIOD=2026-11`, or `20261101-20261201` in older reports.
fn aws_label(part: &str) -> Option<String> {
    if let Some(period) = part.strip_prefix("BILLING_PERIOD=") {
        return Some(period.to_owned());
    }
    let (from, to) = part.split_once('-')?;
    let is_day = |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_day(from) && is_day(to)).then(|| format!("{}-{}", &from[..4], &from[4..6]))
}

/// Returns the set that a manifest of AWS names.
///
/// # Errors
/// [`Cause::NotFound`] if a file is missing or has to stand for two, [`Cause::NotAllowed`] if it lies in another bucket.
pub(super) fn aws_set(
    place: &Place,
    objects: &[Object],
    found: &AwsRef,
    manifest: &AwsManifest,
) -> Result<ExportSet, CollectError> {
    for (bucket, _) in &manifest.files {
        if let (Some(bucket), Some(here)) = (bucket.as_deref(), place.bucket_name())
            && bucket != here
        {
            let detail = format!("the manifest {} names a file of another bucket; it is not read", found.object.key);
            return Err(CollectError::new(Cause::NotAllowed, detail));
        }
    }
    let keys = manifest.files.iter().map(|(_, key)| key.as_str());
    let files = all_named(place, objects, &found.object, keys)?;
    Ok(ExportSet::new(&found.label, &manifest.run, files, Some(found.object.clone())))
}

/// Returns the files that a manifest names. One that it names twice is one; one that two names lead to, as in a folder that
/// holds only a part of the bucket, leaves the other one missing.
fn all_named<'a>(
    place: &Place,
    objects: &[Object],
    manifest: &Object,
    keys: impl Iterator<Item = &'a str>,
) -> Result<Vec<Object>, CollectError> {
    let mut files: BTreeMap<String, Object> = BTreeMap::new();
    for key in keys.collect::<BTreeSet<&str>>() {
        let file = named(place, objects, manifest, key)?;
        if let Some(other) = files.insert(file.key.clone(), file) {
            let key = crate::prometheus::shown(&other.key);
            let detail = format!("two files that the manifest {} names are both {key} here", manifest.key);
            return Err(CollectError::new(Cause::NotFound, detail));
        }
    }
    Ok(files.into_values().collect())
}

fn named(place: &Place, objects: &[Object], manifest: &Object, key: &str) -> Result<Object, CollectError> {
    place.named(objects, key).cloned().ok_or_else(|| {
        let key = crate::prometheus::shown(key);
        let detail = format!("the manifest {} names {key}, which is not below the path that is read", manifest.key);
        CollectError::new(Cause::NotFound, detail)
    })
}

/// Returns the manifests of Azure among the files.
pub(super) fn azure_manifests(objects: &[Object]) -> impl Iterator<Item = &Object> {
    objects.iter().filter(|object| object.name().eq_ignore_ascii_case("manifest.json"))
}

/// Returns the newest run of each period that is not empty.
///
/// # Errors
/// [`Cause::Schema`] if there are several exports and none is named; of one set [`Cause::NotFound`] if a file is missing.
pub(super) fn azure_sets(
    place: &Place,
    objects: &[Object],
    manifests: &[(Object, AzureManifest)],
    export: Option<&str>,
) -> Result<Vec<Result<ExportSet, CollectError>>, CollectError> {
    let is_cost =
        |manifest: &AzureManifest| matches!(manifest.kind.as_deref(), None | Some("FocusCost" | "ActualCost"));
    let mut exports = BTreeSet::new();
    let mut best: BTreeMap<&str, &(Object, AzureManifest)> = BTreeMap::new();
    for found in manifests {
        let (object, manifest) = found;
        if export.is_some_and(|export| export != manifest.export) || !is_cost(manifest) || manifest.files.is_empty() {
            continue;
        }
        exports.insert(manifest.export.as_str());
        let newer = best.get(manifest.start.as_str()).is_none_or(|(other_object, other)| {
            (other.submitted, &other_object.key) < (manifest.submitted, &object.key)
        });
        if newer {
            best.insert(&manifest.start, found);
        }
    }
    check_one_export(&exports, export)?;
    let starts: Vec<&str> = best.keys().copied().collect();
    let set = |(start, (object, manifest)): (&str, &(Object, AzureManifest))| -> Result<ExportSet, CollectError> {
        check_whole_month(start, &starts)?;
        let files = all_named(place, objects, object, manifest.files.iter().map(String::as_str))?;
        let label = start.strip_suffix("-01").unwrap_or(start);
        Ok(ExportSet::new(label, &manifest.run, files, Some(object.clone())))
    };
    Ok(best.into_iter().map(set).collect())
}

/// Runs of weeks or days tell parts of one billing period, and each would take the place of the whole.
fn check_whole_month(start: &str, starts: &[&str]) -> Result<(), CollectError> {
    let month = start.get(..7);
    match starts.iter().find(|other| **other != start && other.get(..7) == month) {
        None => Ok(()),
        Some(other) => Err(CollectError::schema(format!(
            "runs of the export begin on {start} and on {other}, so each tells a part of the month and not the whole: \
             export the month to date, and remove the other runs"
        ))),
    }
}

/// Two exports may tell the same money twice; somebody has to choose.
fn check_one_export(exports: &BTreeSet<&str>, export: Option<&str>) -> Result<(), CollectError> {
    match (exports.len(), export) {
        (0, Some(export)) => Err(CollectError::schema(format!("no export `{export}` with a manifest is there"))),
        (0, None) => Err(CollectError::schema("no manifest of an export is there; check the path")),
        (1, _) => Ok(()),
        _ => {
            let names: Vec<&str> = exports.iter().copied().take(10).collect();
            let names = crate::prometheus::shown(&names.join(", "));
            let detail =
                format!("several exports are there, which may tell the same money twice: {names}; set `export`");
            Err(CollectError::schema(detail))
        }
    }
}

/// The period of a folder `billing_period=…`, however it is written.
fn partition(object: &Object) -> Option<&str> {
    let folders = object.parts().rev().skip(1);
    folders.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        matches!(name.as_str(), "billing_period" | "billing_month" | "billingperiod").then_some(value)
    })
}

/// Whether a file holds rows: not a manifest, a mark, a checksum, or something hidden.
fn is_data(object: &Object) -> bool {
    let name = object.name().to_ascii_lowercase();
    let is_beside = name.starts_with(['.', '_'])
        || name == "manifest.json"
        || name.ends_with("-manifest.json")
        || [".crc", ".md5", ".sha256", ".tmp"].iter().any(|end| name.ends_with(end));
    object.size > 0 && !is_beside
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;

    fn object(key: &str, hours: i64) -> Object {
        let modified = Instant::from_micros(hours * HOUR);
        Object { key: key.to_owned(), size: 1, e_tag: None, modified, arrived: modified }
    }

    fn keys(set: &ExportSet) -> Vec<&str> {
        set.objects.iter().map(|object| object.key.as_str()).collect()
    }

    #[test]
    fn a_period_ends_and_files_of_all_periods_do_not() {
        let end = |label: &str| ExportSet::new(label, "", Vec::new(), None).end();
        let instant = |text: &str| text.parse::<Instant>().expect("an instant");
        assert!(instant("2026-11-30T00:00:00Z") < end("2026-11") && end("2026-11") < instant("2027-02-01T00:00:00Z"));
        assert!(instant("2026-12-04T00:00:00Z") < end("2026-11-05"));
        assert_eq!(end("all"), Instant::from_micros(i64::MAX));
    }

    #[test]
    fn plain_files_are_one_set_for_each_period_and_one_for_the_rest() {
        let objects =
            ["a/billing_period=2026-10/x.parquet", "a/BILLING_PERIOD=2026-11/x.parquet", "a/y.csv", "a/_SUCCESS"]
                .map(|key| object(key, 0));
        let sets = plain(&objects);
        let labels: Vec<&str> = sets.iter().map(|set| set.label.as_str()).collect();
        assert_eq!(labels, ["2026-10", "2026-11", "all"]);
        assert_eq!(keys(&sets[2]), ["a/y.csv"]);
        let mut later = objects.clone();
        later[2].size = 2;
        let changed = plain(&later);
        assert!(changed[2].version != sets[2].version && changed[0].version == sets[0].version);
    }

    #[test]
    fn of_runs_with_folders_the_last_counts_and_never_the_union() {
        let base = "focus/acme/metadata/BILLING_PERIOD=2026-11";
        let objects = [
            object(&format!("{base}/2026-11-19T03:00:00.000Z-aa/acme-Manifest.json"), 19),
            object(&format!("{base}/2026-11-20T03:00:00.000Z-00/acme-Manifest.json"), 5),
            object("focus/acme/data/BILLING_PERIOD=2026-11/2026-11-20T03:00:00.000Z-00/acme-00001.csv.gz", 5),
        ];
        let found = aws_manifests(&objects, None).expect("manifests");
        assert_eq!(found.len(), 1);
        assert!(found[0].object.key.contains("2026-11-20"), "{}", found[0].object.key);
        assert_eq!(found[0].label, "2026-11");
        // An export that was switched to overwriting: the manifest beside the folders counts once it is newer.
        let beside = object(&format!("{base}/acme-Manifest.json"), 21);
        let found = aws_manifests(&[objects.to_vec(), vec![beside.clone()]].concat(), None).expect("manifests");
        assert_eq!(found[0].object, beside);
    }

    #[test]
    fn older_reports_name_periods_by_their_days_and_runs_by_assembly() {
        let objects = [
            object("cur/acme/20261101-20261201/11111111-aaaa/acme-Manifest.json", 1),
            object("cur/acme/20261101-20261201/acme-Manifest.json", 1),
        ];
        let found = aws_manifests(&objects, None).expect("manifests");
        assert_eq!((found[0].label.as_str(), &found[0].object), ("2026-11", &objects[1]));
        let runs = [
            object("cur/acme/20261101-20261201/11111111-aaaa/acme-Manifest.json", 9),
            object("cur/acme/20261101-20261201/ffffffff-aaaa/acme-Manifest.json", 1),
        ];
        let found = aws_manifests(&runs, None).expect("manifests");
        assert_eq!(found[0].object, runs[0], "an id says nothing of time");
    }

    #[test]
    fn of_several_exports_one_must_be_named() {
        let objects =
            ["a", "b"].map(|name| object(&format!("{name}/metadata/BILLING_PERIOD=2026-11/{name}-Manifest.json"), 1));
        let error = aws_manifests(&objects, None).expect_err("two exports");
        assert_eq!(error.cause, Cause::Schema);
        assert!(error.detail.contains("a, b") && error.detail.contains("`export`"), "{}", error.detail);
        let found = aws_manifests(&objects, Some("b")).expect("manifests");
        assert_eq!(found[0].object, objects[1]);
        assert_eq!(aws_manifests(&objects, Some("c")).map_err(|error| error.cause), Err(Cause::Schema));
    }

    #[test]
    fn shards_that_a_longer_run_left_behind_are_refused() {
        let shard = |name: &str, hours: i64| object(&format!("focus/billing_period=2026-11/{name}"), hours);
        let run = [shard("shard-000.parquet", 24), shard("shard-001.parquet", 24)];
        assert_eq!(google(&run).expect("sets")[0].objects.len(), 2);
        let left = [run.to_vec(), vec![shard("shard-002.parquet", 0)]].concat();
        let error = google(&left).expect_err("a shard of the day before");
        assert!(error.detail.contains("shard-002.parquet"), "{}", error.detail);
    }

    #[test]
    fn a_folder_for_each_run_is_taken_alone_and_only_with_its_mark() {
        let base = "focus/billing_period=2026-11";
        let objects = [
            object(&format!("{base}/run=2026-11-19/shard-0.parquet"), 1),
            object(&format!("{base}/run=2026-11-20/_SUCCESS.json"), 25),
            object(&format!("{base}/run=2026-11-20/shard-0.parquet"), 25),
        ];
        let sets = google(&objects).expect("sets");
        assert_eq!(sets.len(), 1);
        assert_eq!(keys(&sets[0]), [objects[2].key.as_str()]);
        let under_way = object(&format!("{base}/run=2026-11-21/shard-0.parquet"), 49);
        let still = google(&[objects.to_vec(), vec![under_way]].concat()).expect("sets");
        assert_eq!(still, sets, "a run without its mark is not taken, the one before still is");
    }

    #[test]
    fn files_are_at_rest_once_sealed_or_once_they_are_old() {
        let rests = |set: &ExportSet, hours: i64, settle: u64| {
            set.is_at_rest(Instant::from_micros(hours * HOUR), Duration::from_secs(settle * 3600))
        };
        let shard = object("focus/billing_period=2026-11/shard-0.parquet", 10);
        let unsealed = google(std::slice::from_ref(&shard)).expect("sets").remove(0);
        assert!(!rests(&unsealed, 10, 2) && !rests(&unsealed, 11, 2) && rests(&unsealed, 12, 2));
        let mark = |hours: i64| object("focus/billing_period=2026-11/_SUCCESS", hours);
        let sealed = google(&[shard.clone(), mark(10)]).expect("sets").remove(0);
        assert!(rests(&sealed, 10, 2), "what seals it came last");
        let again = google(&[shard.clone(), mark(9)]).expect("sets").remove(0);
        assert!(!rests(&again, 10, 2), "the mark is that of a run before");
        let manifest = |hours: i64| ExportSet::new("2026-11", "x", vec![shard.clone()], Some(object("m", hours)));
        assert!(rests(&manifest(11), 11, 2) && !rests(&manifest(9), 11, 2));
    }

    #[test]
    fn a_copied_folder_is_as_old_as_the_copy_whatever_times_its_files_kept() {
        let rests = |set: &ExportSet, hours: i64| {
            set.is_at_rest(Instant::from_micros(hours * HOUR), Duration::from_secs(2 * 3600))
        };
        let copied = |name: &str, hours: i64, arrived: i64| {
            let arrived = Instant::from_micros(arrived * HOUR);
            Object { arrived, ..object(&format!("focus/billing_period=2026-11/{name}"), hours) }
        };
        let mark = copied("_SUCCESS", 10, 500);
        let shard = copied("shard-0.parquet", 9, 501);
        let objects = [mark.clone(), shard.clone()];
        for set in [google(&objects).expect("sets").remove(0), plain(&objects).remove(0)] {
            assert!(!rests(&set, 502), "the mark was copied first, and more shards may follow");
            assert!(rests(&set, 503), "nothing followed");
            assert_eq!(set.newest(), Some(shard.modified), "it still says how far the bill goes");
        }
        let last = google(&[copied("_SUCCESS", 10, 502), shard]).expect("sets").remove(0);
        assert!(rests(&last, 502), "the mark was copied last");
    }

    #[test]
    fn two_exports_of_a_month_in_one_bucket_are_refused() {
        let objects = ["a", "b"].map(|name| object(&format!("{name}/billing_period=2026-11/shard-0.parquet"), 1));
        let error = google(&objects).expect_err("two exports");
        assert!(error.detail.contains("a/billing_period=, b/billing_period="), "{}", error.detail);
        let error = google(&[object("shard-0.parquet", 1)]).expect_err("no period");
        assert!(error.detail.contains("shard-0.parquet lies in no folder"), "{}", error.detail);
    }
}
