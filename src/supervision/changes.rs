//! Waiting for many lifecycles at once: health, events and systemd tell of whichever changes first.

use std::future::pending;

use futures_util::future::{BoxFuture, FutureExt as _, select_all};
use tokio::sync::watch;

use super::Snapshot;

/// Resolves when one of them changes after this call; never without any. One that is gone changes no more.
pub fn any_change(of: impl IntoIterator<Item = watch::Receiver<Snapshot>>) -> BoxFuture<'static, ()> {
    let each = of.into_iter().map(|mut changes| {
        changes.mark_unchanged();
        async move {
            if changes.changed().await.is_err() {
                pending::<()>().await;
            }
        }
        .boxed()
    });
    let each: Vec<_> = each.collect();
    async move {
        match each.is_empty() {
            true => pending().await,
            false => drop(select_all(each).await),
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[tokio::test]
    async fn the_first_change_after_the_call_is_told_and_those_that_are_gone_are_not_waited_for() {
        let snapshot = || Snapshot::idle(SystemTime::now());
        let (one, watched) = watch::channel(snapshot());
        let (gone, other) = watch::channel(snapshot());
        one.send_replace(snapshot());
        let change = any_change([watched, other]);
        drop(gone);
        tokio::pin!(change);
        assert!(change.as_mut().now_or_never().is_none(), "that was before the call, and gone is no change");
        one.send_replace(snapshot());
        assert!(change.now_or_never().is_some());
        assert!(any_change([]).now_or_never().is_none(), "nothing never changes");
    }
}
