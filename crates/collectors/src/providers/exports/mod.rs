//! Bills that a cloud writes as files, read from a folder or a bucket: exports of AWS, Azure and Google Cloud, and FOCUS
//! files of anybody.
//!
//! Invariants:
//! * A period is taken from one run of an export, whole; never from the union of runs.
//! * A period is read again only when its files changed, and replaced by one import; see [`crate::import`].
//! * What is being written waits: a set is read once a manifest or a mark seals it, or once it rests, and it is imported only
//!   if it is the same afterwards.
//! * Buckets are listed and read. A client that would write is not there: its requests are refused before they are sent.
//! * Memory does not grow with the files: they are copied to disk, those of a folder as well, and read row by row.

/// Clients of buckets.
mod bucket;
/// Reading and importing what changed.
mod collect;
/// What clouds write beside their exports.
mod manifest;
/// Where files are.
mod place;
/// Which files belong together.
mod plan;

pub use bucket::{BucketAddress, BucketKind};
pub use place::{Object, Place};
pub use plan::ExportSet;

pub(super) use collect::{ExportWork, collect};

use super::collector::{Collected, Collector, Gigabyte, Kind, Spec, Task, as_usual};
use super::credentials::{CredentialSpec, Credentials};
use super::error::{Cause, CollectError};
use super::fetch::{Fetch, FetchOptions};
use super::keys::read_keys;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long files must rest that nothing seals, unless the configuration says otherwise.
pub const SETTLE: Duration = Duration::from_secs(300);
/// Buckets are asked by clients of their own; nothing is asked at this address.
const NO_ADDRESS: &[&str] = &["https://files.invalid"];
/// Days after the end of a month in which its files may change. It only matters to figures: files tell by themselves.
const FINAL_AFTER_DAYS: i32 = 15;

const fn optional(key: &'static str, env: &'static str) -> CredentialSpec {
    CredentialSpec { key, env, is_required: false }
}

const ACCESS_KEY: CredentialSpec = optional("access_key", "AWS_ACCESS_KEY_ID");
const SECRET_KEY: CredentialSpec = optional("secret_key", "AWS_SECRET_ACCESS_KEY");
const SESSION_TOKEN: CredentialSpec = optional("session_token", "AWS_SESSION_TOKEN");
const SAS_TOKEN: CredentialSpec = optional("sas_token", "AZURE_STORAGE_SAS_TOKEN");
const CLIENT_ID: CredentialSpec = optional("client_id", "AZURE_CLIENT_ID");
const CLIENT_SECRET: CredentialSpec = optional("client_secret", "AZURE_CLIENT_SECRET");
const TENANT_ID: CredentialSpec = optional("tenant_id", "AZURE_TENANT_ID");
const SERVICE_ACCOUNT: CredentialSpec = optional("service_account", "GOOGLE_SERVICE_ACCOUNT");

const fn spec(name: &'static str, provider: &'static str, credentials: &'static [CredentialSpec]) -> Spec {
    Spec {
        name,
        provider,
        bases: NO_ADDRESS,
        allowed: &[],
        credentials,
        gigabyte: Gigabyte::Gb,
        zone: "UTC",
        final_after_days: FINAL_AFTER_DAYS,
        levels: &[],
        reclassify: as_usual,
    }
}

static FILES: Spec = spec(
    "files",
    "files",
    &[ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, SAS_TOKEN, CLIENT_ID, CLIENT_SECRET, TENANT_ID, SERVICE_ACCOUNT],
);
static AWS: Spec = spec("aws_export", "AWS", &[ACCESS_KEY, SECRET_KEY, SESSION_TOKEN]);
static AZURE: Spec = spec("azure_export", "Microsoft", &[SAS_TOKEN, CLIENT_ID, CLIENT_SECRET, TENANT_ID]);
static GOOGLE: Spec = spec("gcp_export", "Google Cloud", &[SERVICE_ACCOUNT]);

/// FOCUS files of anybody, in a folder or a bucket.
pub const FILES_KIND: Kind = Kind { spec: &FILES, build: |keys| build(&FILES, Layout::Plain, keys) };
/// Data exports of AWS: FOCUS or CUR 2.0, with their manifests; older reports, too.
pub const AWS_KIND: Kind = Kind { spec: &AWS, build: |keys| build(&AWS, Layout::Aws, keys) };
/// Cost Management exports of Azure: FOCUS or actual costs, with their manifests.
pub const AZURE_KIND: Kind = Kind { spec: &AZURE, build: |keys| build(&AZURE, Layout::Azure, keys) };
/// Tables of Google Cloud's billing export as files: FOCUS or detailed.
pub const GOOGLE_KIND: Kind = Kind { spec: &GOOGLE, build: |keys| build(&GOOGLE, Layout::Google, keys) };

/// How the files of a place belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Plain,
    Aws,
    Azure,
    Google,
}

/// Keys of a source of these kinds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Folder with the files.
    path: Option<PathBuf>,
    /// Bucket and prefix: `s3://…`, `az://…` or `gs://…`.
    bucket: Option<String>,
    /// Region of an S3 bucket.
    region: Option<String>,
    /// Address of another server than that of the cloud.
    endpoint: Option<String>,
    /// Storage account of Azure.
    account: Option<String>,
    /// Name of the export, where there are several.
    export: Option<String>,
}

#[derive(Clone, Debug)]
enum Location {
    Folder(PathBuf),
    Bucket(BucketAddress),
}

/// An export and where its files are.
#[derive(Clone, Debug)]
pub struct ExportSource {
    spec: &'static Spec,
    layout: Layout,
    location: Location,
    export: Option<String>,
}

fn build(spec: &'static Spec, layout: Layout, keys: serde_json::Value) -> Result<Arc<dyn Collector>, String> {
    let keys: Keys = read_keys(keys)?;
    let location = match (keys.path, keys.bucket) {
        (Some(path), None) => {
            if keys.region.is_some() || keys.endpoint.is_some() || keys.account.is_some() {
                return Err("`region`, `endpoint` and `account` belong to a `bucket`, not to a `path`".to_owned());
            }
            Location::Folder(path)
        }
        (None, Some(bucket)) => {
            let address = BucketAddress::parse(&bucket)?;
            if address.kind == BucketKind::Azure && keys.account.is_none() {
                return Err("`account` is missing: the storage account of the container".to_owned());
            }
            if address.kind != BucketKind::S3 && keys.region.is_some() {
                return Err("`region` belongs to an s3:// bucket".to_owned());
            }
            // Both become a part of the host's name: nothing in them may make another host of it.
            for (key, value) in [("region", &keys.region), ("account", &keys.account)] {
                if value.as_deref().is_some_and(|value| !is_label(value)) {
                    return Err(format!("`{key}` has small letters, digits and `-` only, 63 at most"));
                }
            }
            let (region, endpoint, account) = (keys.region, keys.endpoint, keys.account);
            Location::Bucket(BucketAddress { region, endpoint, account, ..address })
        }
        _ => return Err("give either `path`, a folder, or `bucket`, such as s3://bucket/prefix".to_owned()),
    };
    Ok(Arc::new(ExportSource { spec, layout, location, export: keys.export }))
}

/// Whether a text is one label of a host's name.
fn is_label(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_plain)
}

impl ExportSource {
    /// Opens the place. Nothing is sent yet.
    fn open(&self, credentials: &Credentials, options: &FetchOptions) -> Result<Place, CollectError> {
        match &self.location {
            Location::Folder(folder) => Place::folder(folder, options.timeout),
            Location::Bucket(address) => {
                let address = BucketAddress { retries: options.retries, ..address.clone() };
                Place::bucket(&address, credentials, options.timeout)
            }
        }
    }

    /// Returns the sets of files that are there now, one for each period, or why there is none of a period.
    async fn plan(&self, place: &Place) -> Result<Vec<Result<ExportSet, CollectError>>, CollectError> {
        let objects = place.list().await?;
        let sets: Vec<Result<ExportSet, CollectError>> = match self.layout {
            Layout::Plain => plan::plain(&objects).into_iter().map(Ok).collect(),
            Layout::Google => plan::google(&objects)?.into_iter().map(Ok).collect(),
            Layout::Aws => self.plan_aws(place, &objects).await?,
            Layout::Azure => self.plan_azure(place, &objects).await?,
        };
        match sets.is_empty() {
            false => Ok(sets),
            // An empty place is never a month without cost.
            true => Err(CollectError::new(Cause::NotFound, format!("there are no files of an export in {place:?}"))),
        }
    }

    async fn plan_aws(
        &self,
        place: &Place,
        objects: &[Object],
    ) -> Result<Vec<Result<ExportSet, CollectError>>, CollectError> {
        let mut sets = Vec::new();
        for found in plan::aws_manifests(objects, self.export.as_deref())? {
            let text = place.manifest(&found.object).await;
            let manifest = text.and_then(|text| manifest::aws(&found.object.key, &text));
            sets.push(manifest.and_then(|manifest| plan::aws_set(place, objects, &found, &manifest)));
        }
        Ok(sets)
    }

    async fn plan_azure(
        &self,
        place: &Place,
        objects: &[Object],
    ) -> Result<Vec<Result<ExportSet, CollectError>>, CollectError> {
        let mut manifests = Vec::new();
        let mut broken: Vec<Result<ExportSet, CollectError>> = Vec::new();
        for object in plan::azure_manifests(objects) {
            let text = place.manifest(object).await;
            match text.and_then(|text| manifest::azure(&object.key, &text)) {
                Ok(manifest) => manifests.push((object.clone(), manifest)),
                Err(error) => broken.push(Err(error)),
            }
        }
        if manifests.is_empty() && !broken.is_empty() {
            return Ok(broken);
        }
        let mut sets = plan::azure_sets(place, objects, &manifests, self.export.as_deref())?;
        sets.extend(broken);
        Ok(sets)
    }

    /// Refuses a set that is another one by now: what was read may be of two runs.
    async fn check_unchanged(&self, place: &Place, set: &ExportSet) -> Result<(), CollectError> {
        let objects = place.list().await?;
        let is_same = match &set.manifest {
            Some(manifest) => {
                set.objects.iter().all(|object| is_listed(&objects, object))
                    && self.run_of(place, manifest).await? == set.run
            }
            None if self.layout == Layout::Google => plan::google(&objects)?.contains(set),
            None => plan::plain(&objects).contains(set),
        };
        match is_same {
            true => Ok(()),
            false => Err(CollectError::new(Cause::Truncated, "the files were written anew while they were read")),
        }
    }

    /// The run that a manifest names now.
    async fn run_of(&self, place: &Place, manifest: &Object) -> Result<String, CollectError> {
        let bytes = place.manifest(manifest).await?;
        match self.layout {
            Layout::Azure => Ok(manifest::azure(&manifest.key, &bytes)?.run),
            Layout::Aws | Layout::Google | Layout::Plain => Ok(manifest::aws(&manifest.key, &bytes)?.run),
        }
    }
}

/// Whether a file is among those that are listed, unchanged.
fn is_listed(objects: &[Object], object: &Object) -> bool {
    let at = objects.binary_search_by(|other| other.key.cmp(&object.key));
    at.is_ok_and(|at| objects.get(at) == Some(object))
}

impl Collector for ExportSource {
    fn spec(&self) -> &'static Spec {
        self.spec
    }

    fn export(&self) -> Option<&ExportSource> {
        Some(self)
    }

    fn collect<'a>(&'a self, _fetch: &'a Fetch, _task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>> {
        // Files are not asked for period by period; see [`collect`].
        async { Ok(Collected::default()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_source_is_a_folder_or_a_bucket() {
        let built = |keys: serde_json::Value| (AWS_KIND.build)(keys).map(|_| ());
        assert_eq!(built(json!({"path": "/srv/exports"})), Ok(()));
        assert_eq!(built(json!({"bucket": "s3://acme/focus", "region": "eu-central-1", "export": "x"})), Ok(()));
        assert_eq!(built(json!({"bucket": "az://exports", "account": "devstoreaccount1"})), Ok(()));
        for bad in [
            json!({}),
            json!({"path": "/srv", "bucket": "s3://acme"}),
            json!({"path": "/srv", "region": "eu-central-1"}),
            json!({"bucket": "https://acme"}),
            json!({"bucket": "az://exports"}),
            json!({"bucket": "gs://acme", "region": "x"}),
            json!({"folder": "/srv"}),
            json!({"bucket": "s3://acme", "region": "x.evil.example/"}),
            json!({"bucket": "s3://acme", "region": ""}),
            json!({"bucket": "az://exports", "account": "evil.example#"}),
            json!({"bucket": "az://exports", "account": "a@evil.example"}),
        ] {
            assert!(built(bad.clone()).is_err(), "{bad}");
        }
    }
}
