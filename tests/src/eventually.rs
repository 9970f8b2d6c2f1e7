//! Waiting for something that happens in its own time: asked again and again, with a bound, never by a fixed sleep.

use std::future::Future;
use std::time::Duration;

/// Longest wait. Generous, since it is only spent where a test fails: a machine may be busy with other work.
pub const BOUND: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);

/// Tries until the result is `Ok`, at most for [`BOUND`].
///
/// # Errors
/// What was waited for and the last refusal.
pub async fn eventually<T, F>(what: &str, attempt: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    within(BOUND, what, attempt).await
}

async fn within<T, F>(bound: Duration, what: &str, mut attempt: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let mut last = None;
    let asked = tokio::time::timeout(bound, async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(refusal) => last = Some(refusal),
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
    match (asked, last) {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(last)) => Err(last.context(format!("{what}: still not so after {bound:?}"))),
        (Err(_), None) => anyhow::bail!("{what}: the question itself hung for {bound:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_refusal_is_in_the_error() {
        let grey = || async { anyhow::bail!("it is grey") as anyhow::Result<()> };
        let error = within(PAUSE, "the moon is green", grey);
        let text = format!("{:#}", error.await.unwrap_err());
        assert!(text.contains("the moon is green") && text.contains("it is grey"), "{text}");
    }

    #[tokio::test]
    async fn it_tries_until_there_is_a_result() {
        let mut left = 3;
        let asked = eventually("a third time", || {
            left -= 1;
            async move { if left == 0 { Ok(7) } else { anyhow::bail!("{left} to go") } }
        });
        assert_eq!(asked.await.unwrap(), 7);
    }
}
