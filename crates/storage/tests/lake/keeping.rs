use std::io::Read;

use bytes::Bytes;
use futures::stream;
use sha2::{Digest, Sha256};
use storage::lake::{DataFolder, Imports, Lake, LakeError};
use tempfile::TempDir;

fn parts(bytes: &[u8], size: usize) -> Vec<Result<Bytes, std::io::Error>> {
    bytes.chunks(size).map(|part| Ok(Bytes::copy_from_slice(part))).collect()
}

#[tokio::test]
async fn an_import_is_kept_once_under_its_hash() {
    let folder = TempDir::new().unwrap();
    let imports = Imports::open(&folder.path().join("imports")).unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let first = imports.keep(stream::iter(parts(&bytes, 1 << 16))).await.unwrap();
    let again = imports.keep(stream::iter(parts(&bytes, 999))).await.unwrap();

    assert_eq!(first, again);
    assert_eq!(first.sha256, hex::encode(Sha256::digest(&bytes)));
    assert_eq!(first.size, 3_000_000);
    assert_eq!(std::fs::read_dir(folder.path().join("imports")).unwrap().count(), 1);
    let mut read = Vec::new();
    imports.open_import(&first.sha256).await.unwrap().read_to_end(&mut read).unwrap();
    assert!(read == bytes);
}

#[tokio::test]
async fn a_broken_stream_keeps_nothing_and_odd_names_find_nothing() {
    let folder = TempDir::new().unwrap();
    let imports = Imports::open(folder.path()).unwrap();
    let broken = vec![Ok(Bytes::from_static(b"abc")), Err(std::io::Error::other("connection lost"))];
    assert!(imports.keep(stream::iter(broken)).await.is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    for name in ["", "..", "../lake/lake.json", &"0".repeat(64)] {
        assert!(matches!(imports.open_import(name).await, Err(LakeError::ImportMissing(_))), "{name}");
    }
}

#[tokio::test]
async fn evidence_is_kept_once_and_found_changed() {
    let folder = TempDir::new().unwrap();
    let lake = Lake::open(folder.path(), "2026-11-20T12:00:00Z".parse().unwrap()).await.unwrap();
    let sha256 = lake.keep_evidence(b"{}\n".to_vec()).await.unwrap();
    assert_eq!(lake.keep_evidence(b"{}\n".to_vec()).await.unwrap(), sha256);
    assert_eq!(lake.evidence(&sha256).await.unwrap(), b"{}\n");
    std::fs::write(folder.path().join(format!("evidence/{sha256}.jsonl")), "[]\n").unwrap();
    assert!(matches!(lake.evidence(&sha256).await, Err(LakeError::Damaged { .. })));
    // It is no part of any table.
    Lake::open(folder.path(), "2026-11-20T13:00:00Z".parse().unwrap()).await.unwrap();
}

#[test]
fn a_data_folder_belongs_to_one_holder() {
    let folder = TempDir::new().unwrap();
    let held = DataFolder::lock(folder.path()).unwrap();
    let error = DataFolder::lock(folder.path()).unwrap_err();
    assert!(matches!(error, LakeError::Locked(_)));
    assert!(error.to_string().contains("--server"), "{error}");
    drop(held);
    DataFolder::lock(folder.path()).unwrap();
}
