//! One WebSocket from its upgrade to its end. A reader takes calls one after the other and answers them in
//! order; a writer empties the outbox beside it and asks the client whether it is there. The first of the
//! two that ends, or the stop of the service, ends both.
//!
//! Who reads nothing fills its outbox (notifications are dropped, calls are no longer read) and is cut when
//! one message is not taken within [`SEND_WITHIN`]; who is silent through two pings is cut as well, and who
//! has not logged in within [`LOGIN_WITHIN`] where a login is needed. While a call is being answered nothing
//! is read, so that nobody can be silent then.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _, poll};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error};
use tokio_util::sync::CancellationToken;

use super::engine;
use super::session::{Calls, Session};

/// Calls are short; a batch of fifty is some kilobytes.
pub const MESSAGE: usize = 64 * 1024;
/// Of tungstenite, for each connection: its default would be 128 kB.
const READ_BUFFER: usize = 4 * 1024;
/// For the upgrade, and for one message to be taken by the client.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// Who shows nothing keeps others from a seat.
const LOGIN_WITHIN: Duration = Duration::from_secs(30);
const TAKEN_AWAY: &str = "this login no longer holds; log in anew";
/// For the last words.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Runs until the connection ends.
pub async fn run(session: Arc<Session>, upgrade: OnUpgrade, stop: CancellationToken) {
    let Ok(Ok(upgraded)) = timeout(SEND_WITHIN, upgrade).await else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let socket = Socket::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (mut sink, mut stream) = socket.split();
    let last_words = tokio::select! {
        () = stop.cancelled() => Some((CloseCode::Away, "the service is being stopped".into())),
        words = read(&session, &mut stream) => words,
        words = write(&session, &mut sink) => words,
    };
    if let Some((code, reason)) = last_words {
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let _ = timeout(CLOSE_WITHIN, sink.send(close)).await;
        // Closed with something unread, the kernel would take the last words back.
        if let Ok(mut socket) = sink.reunite(stream) {
            let _ = timeout(CLOSE_WITHIN, drain(socket.get_mut())).await;
        }
    }
}

/// Reads and forgets, until the client has closed.
async fn drain(socket: &mut TokioIo<hyper::upgrade::Upgraded>) {
    let mut forgotten = [0; 4096];
    while socket.read(&mut forgotten).await.is_ok_and(|length| length > 0) {}
}

type LastWords = Option<(CloseCode, String)>;

async fn read(session: &Arc<Session>, stream: &mut SplitStream<Socket>) -> LastWords {
    let calls = Calls(Arc::clone(session));
    loop {
        let bytes: Bytes = match stream.next().await {
            Some(Ok(Message::Text(text))) => text.into(),
            Some(Ok(Message::Binary(bytes))) => bytes,
            None => return None,
            // A Close as well: reading on sends the answer to it, and then ends.
            Some(Ok(_)) => {
                session.hear();
                continue;
            }
            Some(Err(Error::Capacity(_))) => {
                return Some((CloseCode::Size, format!("a message has at most {MESSAGE} bytes")));
            }
            Some(Err(_)) => return None,
        };
        let busy = session.busy();
        let most = session.rpc.house().config.borrow().rpc.max_batch;
        if let Some(answer) = engine::answer(&bytes, most, &calls).await {
            session.outbox.answer(answer);
        }
        // An answer may have waited for room for longer than a client may be silent.
        session.outbox.room().await;
        drop(busy);
    }
}

async fn write(session: &Session, sink: &mut SplitSink<Socket, Message>) -> LastWords {
    let every = || Duration::from_secs_f64(session.rpc.house().config.borrow().rpc.ping_seconds);
    // One timer for the connection, not one for each message.
    let mut ask = pin!(tokio::time::sleep(every()));
    let mut access = session.rpc.house().access.changes();
    loop {
        let message = tokio::select! {
            text = session.outbox.next() => Message::Text(text),
            Ok(()) = access.changed() => {
                if session.look_again().await {
                    return Some((CloseCode::Policy, TAKEN_AWAY.into()));
                }
                continue;
            }
            () = ask.as_mut() => {
                let every = every();
                ask.as_mut().reset(Instant::now() + every);
                if session.silent() > every.mul_f64(2.5) {
                    return Some((CloseCode::Policy, "no answer to pings".into()));
                }
                if session.look_again().await {
                    return Some((CloseCode::Policy, TAKEN_AWAY.into()));
                }
                if session.role().is_none() && session.age() > LOGIN_WITHIN {
                    return Some((CloseCode::Policy, "a login is needed, by the method authenticate".into()));
                }
                Message::Ping(Bytes::new())
            }
        };
        let mut sending = pin!(sink.send(message));
        // Who keeps up takes it at once, and needs no timer.
        let sent = match poll!(sending.as_mut()) {
            Poll::Ready(sent) => Ok(sent),
            Poll::Pending => timeout(SEND_WITHIN, sending).await,
        };
        if !matches!(sent, Ok(Ok(()))) {
            return None;
        }
    }
}
