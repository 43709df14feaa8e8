use storage::catalog::Catalog;

#[tokio::test]
async fn any_name_of_a_folder_stays_part_of_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a folder? with # and %20").join("catalog.db");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();

    Catalog::open(&path).await.unwrap();

    assert!(path.exists(), "the file is where it was asked for");
}
