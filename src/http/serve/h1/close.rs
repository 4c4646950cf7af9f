//! Taking leave of a client.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use super::link::{At, Link, lock};
use crate::http::reading::read_little;
use crate::http::serve::listener::Transport;

/// So much is read and thrown away, at most, so that a client can read its answer.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// And for this long.
const LINGER: Duration = Duration::from_secs(2);

/// Ends the connection. If the client may still be sending, it is first given the end of ours and some
/// time, because closing with unread bytes would take its answer away again.
pub(super) async fn close<T: Transport>(link: &Mutex<Link<T>>, must_shut: bool) {
    let (io, conn, settled) = {
        let mut link = lock(link);
        let settled = matches!(link.at, At::Head) && link.held.is_empty();
        let conn = link.conn.clone();
        (link.take_io(), conn, settled)
    };
    let Some(mut io) = io else { return };
    if settled && !must_shut {
        return;
    }
    conn.wire.limit_read(Some(LINGER));
    let mut shut = false;
    let mut lingered = 0;
    poll_fn(|cx| {
        if !shut {
            let Poll::Ready(done) = Pin::new(&mut io).poll_shutdown(cx) else {
                return if conn.wire.take_read_expired() { Poll::Ready(()) } else { Poll::Pending };
            };
            shut = true;
            if settled || done.is_err() {
                return Poll::Ready(());
            }
        }
        while lingered < LINGER_BYTES_MAX {
            match read_little(&mut io, cx) {
                Poll::Ready(Ok(more)) if !more.is_empty() => lingered += more.len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if conn.wire.take_read_expired() => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    })
    .await;
}
