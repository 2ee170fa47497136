//! Running an exchange together with the connection that carries it, without a task of its own.

use std::pin::pin;

/// The exchange's result, while the connection is driven. When the probe is given up, both are
/// dropped at once and the socket with them.
pub(super) async fn alongside<T>(exchange: impl Future<Output = T>, connection: impl Future) -> T {
    let mut exchange = pin!(exchange);
    tokio::select! {
        biased;
        result = &mut exchange => return result,
        // Why it ended, the exchange learns as well: from the answer or from its own error.
        _ended = connection => {}
    }
    exchange.await
}
