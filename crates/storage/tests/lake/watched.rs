//! A store that notes what is read, and lets a test do something between two steps of the lake.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// Passes everything on to another store.
#[derive(Clone)]
pub struct Watched {
    inner: Arc<dyn ObjectStore>,
    read: Arc<Mutex<Vec<String>>>,
    listed: Arc<Mutex<Vec<String>>>,
    before_upload: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
}

impl Watched {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        let (read, listed, before_upload) = (Arc::default(), Arc::default(), Arc::default());
        Self { inner, read, listed, before_upload }
    }

    /// Does this before the next data file is begun.
    pub fn before_upload(&self, work: impl Future<Output = ()> + Send + 'static) {
        *self.before_upload.lock().unwrap() = Some(work.boxed());
    }

    /// What was read and what was listed since the last time, below a folder.
    pub fn seen(&self, folder: &str) -> (Vec<String>, Vec<String>) {
        let take = |seen: &Mutex<Vec<String>>| {
            let seen = std::mem::take(&mut *seen.lock().unwrap());
            seen.into_iter().filter(|path| path.starts_with(folder)).collect()
        };
        (take(&self.read), take(&self.listed))
    }

    fn noting(&self, listing: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = Arc::clone(&self.listed);
        listing.inspect_ok(move |object| listed.lock().unwrap().push(object.location.to_string())).boxed()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Watched")
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let work = self.before_upload.lock().unwrap().take();
        if let Some(work) = work {
            work.await;
        }
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read.lock().unwrap().push(location.to_string());
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.noting(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.noting(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
