//! What is done once a day, and when it is done next.

use crate::app::TestApp;
use storage::catalog::JobEnd;

#[tokio::test]
async fn the_schedule_says_when_a_job_is_done_next_and_what_became_of_it() {
    let app = TestApp::start().await;
    let row = async || app.get("/schedule").await.expect(200).json()["rows"][0].clone();
    let catalog = app.app.catalog();

    let before = row().await;
    assert_eq!((before["job"].as_str(), before["at"].as_str()), (Some("attribute"), Some("00:30")));
    assert_eq!(before["next_run_at"], "2026-11-21T00:30:00Z");
    assert!(before["last_day"].is_null() && before["status"].is_null(), "{before}");

    catalog.begin_schedule("attribute", "2026-11-19").await.unwrap();
    assert_eq!(row().await["next_run_at"], "2026-11-20T12:00:00Z", "a day is late, so now");
    let attempt = catalog.begin_job("attribute", "2026-11-20", "here").await.unwrap().unwrap();
    let failed = JobEnd::Failed { error: "no rate".to_owned(), again_after: 0 };
    catalog.end_job("attribute", "2026-11-20", attempt, &failed).await.unwrap();
    let late = row().await;
    assert_eq!((late["status"].as_str(), late["error"].as_str()), (Some("failed"), Some("no rate")));
    assert_eq!((late["last_day"].as_str(), late["attempts"].as_i64()), (Some("2026-11-19"), Some(1)));

    let attempt = catalog.begin_job("attribute", "2026-11-20", "here").await.unwrap().unwrap();
    catalog.end_job("attribute", "2026-11-20", attempt, &JobEnd::Done).await.unwrap();
    let done = row().await;
    assert_eq!((done["status"].as_str(), done["last_day"].as_str()), (Some("succeeded"), Some("2026-11-20")));
    assert_eq!(done["next_run_at"], "2026-11-21T00:30:00Z");
    assert!(done["error"].is_null(), "{done}");
}
