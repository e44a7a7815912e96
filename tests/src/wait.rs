//! Waiting for what comes in its own time.

use std::time::Duration;

/// Waits for something that must come.
///
/// # Panics
/// When it does not come within 30 s.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("this does not come: {what}");
}
