use super::fold::{Asked, Fold};
use super::sums::{Part, Shape, UsageNow, UsageSum};
use super::{UsageQuery, UsageRow, UsageScope};
use crate::books::Books;
use crate::query::select::check_named_tenants;
use crate::{Engine, EngineError};
use arrow::array::RecordBatch;
use domain::meter::Aggregation;
use std::sync::Arc;

/// The totals of one question, asked again and again; each answer is as exact as that of [`Engine::usage`].
///
/// What the lake says is summed once per version of its tables and kept, at most `keys_max` rows of it; what is hot is
/// added each time. As long as neither versions, hot rows, tenants, meters nor the question are others, nothing is read.
pub struct LiveUsage {
    engine: Engine,
    /// Rows kept, and newest values kept for meters that want the last one.
    keys_max: usize,
    books: Option<(Option<String>, Arc<Books>)>,
    committed: Option<Committed>,
    told: Option<Told>,
}

/// What the lake says about a question in one version.
struct Committed {
    versions: (u64, u64),
    question: (UsageScope, UsageQuery),
    books: Arc<Books>,
    fold: Fold,
    /// The newest value of each full key: a hot one may be newer.
    newest: Vec<RecordBatch>,
    /// Whether some meter counts what cannot be added up from parts.
    is_whole_only: bool,
}

/// The last answer, and what it was made of.
struct Told {
    versions: (u64, u64),
    additions: u64,
    question: (UsageScope, UsageQuery),
    books: Arc<Books>,
    rows: Vec<UsageRow>,
}

impl Engine {
    /// Returns totals to be followed; they keep at most so many rows in memory.
    #[must_use]
    pub fn live_usage(&self, keys_max: usize) -> LiveUsage {
        LiveUsage { engine: self.clone(), keys_max, books: None, committed: None, told: None }
    }
}

impl LiveUsage {
    /// Returns every total of the question if one is another than in the answer before; the first time always.
    ///
    /// # Errors
    /// As [`Engine::usage`], and for a question with more totals than may be kept.
    pub async fn next(&mut self, scope: &UsageScope, query: &UsageQuery) -> Result<Option<&[UsageRow]>, EngineError> {
        check_named_tenants(&scope.tenants, &query.filter)?;
        let books = self.books_now().await?;
        let now = self.engine.usage_now().await?;
        let question = (scope.clone(), query.clone());
        let is_same = |told: &Told| {
            (told.versions, told.additions) == (now.versions(), now.additions)
                && told.question == question
                && Arc::ptr_eq(&told.books, &books)
        };
        if self.told.as_ref().is_some_and(is_same) {
            return Ok(None);
        }
        let asked = Asked { scope, query, books: &books };
        let rows = self.rows(&asked, &books, &now).await?;
        let is_news = self.told.as_ref().is_none_or(|told| told.rows != rows || told.question != question);
        let told = Told { versions: now.versions(), additions: now.additions, question, books, rows };
        let told = self.told.insert(told);
        Ok(is_news.then_some(told.rows.as_slice()))
    }

    /// The books, read again only when somebody wrote a dated row.
    async fn books_now(&mut self) -> Result<Arc<Books>, EngineError> {
        let recorded = self.engine.catalog.recorded_up_to().await?;
        if let Some((known, books)) = &self.books
            && *known == recorded
        {
            return Ok(Arc::clone(books));
        }
        let books = Arc::new(self.engine.books_now().await?);
        self.books = Some((recorded, Arc::clone(&books)));
        Ok(books)
    }

    async fn rows(
        &mut self,
        asked: &Asked<'_>,
        books: &Arc<Books>,
        now: &UsageNow,
    ) -> Result<Vec<UsageRow>, EngineError> {
        let is_kept = |kept: &Committed| {
            let (scope, query) = &kept.question;
            kept.versions == now.versions()
                && (scope, query) == (asked.scope, asked.query)
                && Arc::ptr_eq(&kept.books, books)
        };
        let committed = match self.committed.take().filter(is_kept) {
            Some(kept) => kept,
            None => Committed::read(&self.engine, asked, books, now, self.keys_max).await?,
        };
        let committed = self.committed.insert(committed);
        if committed.is_whole_only {
            return self.engine.usage_rows(asked.scope, asked.query).await;
        }
        let mut fold = committed.fold.clone();
        let mut newest = committed.newest.clone();
        if !now.hot.is_empty() {
            let session = self.engine.usage_session(now, Part::Hot)?;
            let shape = Shape::of(asked.query);
            let mut kinds = Kinds::default();
            shape.each_sum(&session, asked.query, |sum| kinds.add(&mut fold, asked, &sum, self.keys_max)).await?;
            if kinds.is_whole_only {
                return self.engine.usage_rows(asked.scope, asked.query).await;
            }
            if kinds.has_last {
                let hot = shape.newest(&session, asked.query, self.keys_max).await?;
                check_kept(rows_of(&hot), self.keys_max)?;
                newest.extend(hot);
            }
        }
        let session = self.engine.empty_session()?;
        Shape::of(asked.query).each_of_newest(&session, newest, asked.query, |sum| fold.add(asked, &sum)).await?;
        fold.into_rows(asked)
    }
}

impl Committed {
    async fn read(
        engine: &Engine,
        asked: &Asked<'_>,
        books: &Arc<Books>,
        now: &UsageNow,
        keys_max: usize,
    ) -> Result<Self, EngineError> {
        let session = engine.usage_session(now, Part::Committed)?;
        let shape = Shape::of(asked.query);
        let (mut fold, mut kinds) = (Fold::default(), Kinds::default());
        shape.each_sum(&session, asked.query, |sum| kinds.add(&mut fold, asked, &sum, keys_max)).await?;
        let newest = match kinds.has_last {
            true => shape.newest(&session, asked.query, keys_max).await?,
            false => Vec::new(),
        };
        check_kept(rows_of(&newest), keys_max)?;
        Ok(Self {
            versions: now.versions(),
            question: (asked.scope.clone(), asked.query.clone()),
            books: Arc::clone(books),
            fold,
            newest,
            is_whole_only: kinds.is_whole_only,
        })
    }
}

/// How the meters of the sums make their quantities.
#[derive(Default)]
struct Kinds {
    has_last: bool,
    is_whole_only: bool,
}

impl Kinds {
    fn add(&mut self, fold: &mut Fold, asked: &Asked<'_>, sum: &UsageSum, keys_max: usize) -> Result<(), EngineError> {
        match asked.books.meters.aggregation(&sum.meter, sum.kind) {
            Aggregation::Last => self.has_last = true,
            Aggregation::UniqueCount => self.is_whole_only = true,
            Aggregation::Sum | Aggregation::Count | Aggregation::Min | Aggregation::Max | Aggregation::Avg => {}
        }
        fold.add(asked, sum)?;
        check_kept(fold.len(), keys_max)
    }
}

fn rows_of(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn check_kept(keys: usize, keys_max: usize) -> Result<(), EngineError> {
    if keys <= keys_max {
        return Ok(());
    }
    let detail =
        format!("more than {keys_max} totals cannot be followed (limits.live_keys); ask for fewer days or keys");
    Err(EngineError::parameter("group_by", detail))
}
