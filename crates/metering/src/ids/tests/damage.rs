use super::*;
use crate::ids::IdsError;
use std::fs;
use std::path::PathBuf;

const SEED: u64 = 0xd9;
const FLIPS: usize = 200;

/// A folder with three runs of different sizes.
fn stored(random: &mut Random, folder: &Path) -> Vec<(IdKey, IdContent)> {
    let mut owner = Owner::open(folder, options(1 << 30));
    for count in [1_500, 300, 20] {
        owner.store(random.ids(count));
    }
    owner.ids().copied().collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.to_string_lossy().ends_with(extension)).collect();
    files.sort();
    files
}

fn is_damage(error: &IdsError) -> bool {
    matches!(error, IdsError::Damaged { .. } | IdsError::DamagedManifest { .. })
}

/// What became of the ids of a damaged folder. A wrong answer panics.
#[derive(Debug, Default)]
struct Outcomes {
    refused_to_open: usize,
    /// Folders in which some id was refused.
    refused: usize,
    harmless: usize,
}

impl Outcomes {
    fn try_out(&mut self, folder: &Path, ids: &[(IdKey, IdContent)], random: &mut Random, what: &str) {
        let index = match IdIndex::open(folder, options(1 << 30)) {
            Ok(index) => index,
            Err(error) => {
                assert!(is_damage(&error), "{what}: {error}");
                self.refused_to_open += 1;
                return;
            }
        };
        let mut refused = 0;
        for (key, content) in ids {
            match index.get(key) {
                Ok(found) => assert_eq!(found.map(|found| found.content), Some(*content), "{what}: {key:?}"),
                Err(error) => refused += usize::from(is_damage(&error)),
            }
            let unknown = index.get(&random.key());
            assert!(unknown.is_err() || unknown.unwrap().is_none(), "{what}: an unknown id was found");
        }
        if refused > 0 { self.refused += 1 } else { self.harmless += 1 }
    }
}

#[test]
fn d9_a_flipped_bit_is_found_or_harmless_in_every_kind_of_file() {
    let (mut random, folder) = (Random(SEED), folder());
    let ids = stored(&mut random, folder.path());
    for kind in [".ids", ".guide", "manifest"] {
        let mut outcomes = Outcomes::default();
        for _ in 0..FLIPS {
            let paths = files(folder.path(), kind);
            let path = &paths[random.below(paths.len())];
            let good = fs::read(path).unwrap();
            let bit = random.below(good.len() * 8);
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, bad).unwrap();
            outcomes.try_out(folder.path(), &ids, &mut random, &format!("bit {bit} of {}", path.display()));
            fs::write(path, good).unwrap();
        }
        println!("seed {SEED}: {FLIPS} flips in {kind}: {outcomes:?}");
        let expected = match kind {
            ".ids" => outcomes.harmless == 0,
            ".guide" => outcomes.harmless == FLIPS,
            _ => outcomes.refused_to_open == FLIPS,
        };
        assert!(expected, "{kind}: {outcomes:?}");
    }
}

#[test]
fn a_missing_cut_or_exchanged_file_is_found_or_harmless() {
    let mut random = Random(SEED + 1);
    let mut check = |what: &str, harmless: bool, damage: fn(&Path)| {
        let folder = folder();
        let ids = stored(&mut random, folder.path());
        damage(folder.path());
        if let Err(error) = IdIndex::open(folder.path(), options(1 << 30)) {
            assert!(!harmless, "{what}: {error}");
            return;
        }
        assert!(harmless, "{what} went unnoticed");
        Outcomes::default().try_out(folder.path(), &ids, &mut random, what);
    };
    check("no manifest", false, |folder| fs::remove_file(folder.join("manifest")).unwrap());
    check("a run missing", false, |folder| fs::remove_file(&files(folder, ".ids")[1]).unwrap());
    check("a run cut", false, |folder| cut(&files(folder, ".ids")[0], 4096));
    check("a run emptied", false, |folder| cut(&files(folder, ".ids")[0], 0));
    check("runs exchanged", false, |folder| exchange_files(folder, ".ids"));
    check("guides exchanged", true, |folder| exchange_files(folder, ".guide"));
    check("a guide missing", true, |folder| fs::remove_file(&files(folder, ".guide")[0]).unwrap());
    check("a guide cut", true, |folder| cut(&files(folder, ".guide")[0], 100));
    check("a guide emptied", true, |folder| cut(&files(folder, ".guide")[0], 0));
    check("a manifest cut short", false, |folder| cut(&folder.join("manifest"), 30));
    check("a foreign file", true, |folder| fs::write(folder.join("notes.txt"), "keep me").unwrap());
}

fn cut(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn exchange_files(folder: &Path, extension: &str) {
    let (paths, aside) = (files(folder, extension), folder.join("aside"));
    for (from, to) in [(&paths[0], &aside), (&paths[1], &paths[0]), (&aside, &paths[1])] {
        fs::rename(from, to).unwrap();
    }
}

#[test]
fn a_damaged_page_stops_merging_and_leaves_the_runs() {
    let (mut random, folder) = (Random(SEED + 2), folder());
    stored(&mut random, folder.path());
    let mut owner = Owner::open(folder.path(), options(1 << 30));
    owner.segment = 4;
    owner.store(random.ids(1_500));
    drop(owner);
    let path = &files(folder.path(), ".ids")[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[5 * 4096] ^= 1;
    fs::write(path, bytes).unwrap();

    let index = IdIndex::open(folder.path(), options(1 << 30)).unwrap();
    let error = index.merge_step().unwrap_err();
    assert!(matches!(error, IdsError::Damaged { page: 5, .. }), "{error}");
    assert_eq!(index.stats().runs, 4);
    assert_eq!(files(folder.path(), ".ids").len(), 4, "the unfinished result is removed");
}
