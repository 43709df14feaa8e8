use super::*;
use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

const SEED: u64 = 0xc7a5;

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// Keeps what a crash would leave behind at each step.
struct Recorder {
    folder: PathBuf,
    random: Random,
    /// The files when the last step that made all of them durable was done.
    durable: Files,
    crashes: Vec<(String, Files)>,
}

type Files = BTreeMap<String, Vec<u8>>;

fn read_files(folder: &Path) -> Files {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

fn write_files(files: &Files) -> TempDir {
    let folder = folder();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn record(step: &str) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(recorder) = recorder {
            recorder.record(step);
        }
    });
}

impl Recorder {
    /// Keeps the files as a kill leaves them, and as power cuts may.
    fn record(&mut self, step: &str) {
        let now = read_files(&self.folder);
        self.crashes.push((format!("kill at {step}"), now.clone()));
        let is_durable = ["ids-run-durable", "ids-manifest-durable"].contains(&step);
        if is_durable {
            self.durable = now;
            return;
        }
        // A synced file is whole, if its name is there; names come and go in any order until the folder is synced.
        let are_contents_synced = step != "ids-run-written" && step != "ids-manifest-written";
        for _ in 0..4 {
            let mut left = self.durable.clone();
            for (name, bytes) in now.iter().filter(|(name, bytes)| self.durable.get(*name) != Some(*bytes)) {
                match self.random.below(2) {
                    0 => {}
                    _ if are_contents_synced => drop(left.insert(name.clone(), bytes.clone())),
                    _ => drop(left.insert(name.clone(), self.random.unsynced(bytes))),
                }
            }
            for name in self.durable.keys().filter(|name| !now.contains_key(*name)) {
                if self.random.below(2) == 0 {
                    left.remove(name);
                }
            }
            self.crashes.push((format!("power cut at {step}"), left));
        }
    }
}

impl Random {
    /// What may be in a file that was written and not synced.
    fn unsynced(&mut self, bytes: &[u8]) -> Vec<u8> {
        let cut = self.below(bytes.len() + 1);
        let rest = if self.below(2) == 0 { 0 } else { bytes.len() - cut };
        [&bytes[..cut], &vec![0; rest]].concat()
    }
}

#[test]
fn d4_a_crash_at_any_step_loses_no_id_and_makes_up_none() {
    let (mut random, mut tried, mut merges) = (Random(SEED), 0, 0);
    for _ in 0..4 {
        let folder = folder();
        let mut owner = Owner::open(folder.path(), IdOptions { at_step: record, ..options(1 << 30) });
        for _ in 0..8 {
            // About equal, so that there is much to merge.
            let count = 290 + random.below(20);
            owner.accept(random.ids(count));
            owner.seal();
            let before = owner.index.through_segment();
            begin_recording(folder.path(), &mut random);
            owner.index.persist(owner.segment - 1).unwrap();
            tried += check_crashes(&owner, before, &mut random);

            begin_recording(folder.path(), &mut random);
            merges += usize::from(owner.index.merge_step().unwrap());
            tried += check_crashes(&owner, owner.index.through_segment(), &mut random);
        }
    }
    println!("seed {SEED}: {tried} crash points, {merges} merges");
    assert!(tried > 500 && merges >= 8, "only {tried} and {merges}");
}

fn begin_recording(folder: &Path, random: &mut Random) {
    let (folder, durable, random) = (folder.to_owned(), read_files(folder), Random(random.next()));
    RECORDER.set(Some(Recorder { folder, random, durable, crashes: Vec::new() }));
}

/// Opens what each crash left, replays the log, and asks for every id. Returns how many there were.
fn check_crashes(owner: &Owner, before: Option<u64>, random: &mut Random) -> usize {
    let crashes = RECORDER.take().map(|recorder| recorder.crashes).unwrap_or_default();
    for (step, files) in &crashes {
        let folder = write_files(files);
        let index = IdIndex::open(folder.path(), options(1 << 30)).unwrap_or_else(|error| panic!("{step}: {error}"));
        let through = index.through_segment();
        assert!(through == before || through == owner.index.through_segment(), "{step}: through {through:?}");

        let mut again = Owner { index, log: owner.log.clone(), segment: owner.segment }.replayed();
        again.check(random, step);
        again.store(random.ids(50));
        while again.index.merge_step().unwrap() {}
        let again = again.reopen(folder.path(), options(1 << 30));
        again.check(random, step);
        let names = read_files(folder.path());
        assert_eq!(names.len(), 1 + 2 * again.index.stats().runs, "{step}: {:?} has leftovers", names.keys());
    }
    crashes.len()
}
